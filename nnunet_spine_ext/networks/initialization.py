"""Weight initialisation, the same for all plan-driven networks as for nnU-Net's own."""

from __future__ import annotations

from torch import nn

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def he_initialize(module: nn.Module) -> None:
    """Draw a convolution's weight by He et al. (2015) for a LeakyReLU of slope 0.01; zero its bias."""
    if isinstance(module, _CONVOLUTIONS):
        nn.init.kaiming_normal_(module.weight, a=1e-2)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
