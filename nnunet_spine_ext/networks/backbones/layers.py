"""The units that heads on published encoders are built from.

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from nnunet_spine_ext.networks.backbones.norms import Norm, norm_layer
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError


class ConvNorm(nn.Sequential):
    """Convolution without bias, norm; keeps the size. `kernel` is one number, or one for each axis."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int] = 3,
        *,
        norm: Norm,
        dilation: int = 1,
        momentum: float = 0.1,
    ) -> None:
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (dilation * (sides[0] // 2), dilation * (sides[1] // 2))
        conv = nn.Conv2d(inputs, outputs, sides, padding=padding, dilation=dilation, bias=False)
        super().__init__(conv, norm_layer(norm, outputs, momentum=momentum))


class ConvUnit(ConvNorm):
    """Convolution without bias, norm, ReLU; keeps the size."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, *, norm: Norm, dilation: int = 1, momentum: float = 0.1
    ) -> None:
        super().__init__(inputs, outputs, kernel, norm=norm, dilation=dilation, momentum=momentum)
        self.append(nn.ReLU(inplace=True))


class PooledUnit(nn.Module):
    """Averages over a grid of `bins` x `bins`, 1x1 convolution, norm, ReLU: (B, C, H, W) → (B, outputs, bins, bins).

    One value a channel is left of a slice when `bins` is 1. No norm can be trained on it with a batch of one, and over
    a small batch its statistics say little, so that there is a bias instead of a norm unless `pooled_norm` is set.
    """

    def __init__(self, inputs: int, outputs: int, *, bins: int = 1, norm: Norm, pooled_norm: bool = False) -> None:
        super().__init__()
        with_norm = bins > 1 or pooled_norm
        self.bins = bins
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=not with_norm)
        self.norm = norm_layer(norm, outputs) if with_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's small map; `resized` brings it back to the size of x.

        Raises:
            NetworkPlanError: BatchNorm on the single value that a batch of one leaves.
        """
        if self.training and type(self.norm) is nn.BatchNorm2d and x.shape[0] * self.bins**2 < 2:
            raise NetworkPlanError(
                "A batch of one slice leaves one value a channel in the pooled branch, and BatchNorm cannot train on "
                "it. Use a batch size of at least 2, or the option pooled_norm=False."
            )
        return functional.relu(self.norm(self.conv(functional.adaptive_avg_pool2d(x, self.bins))), inplace=True)


class ClassHead(nn.Module):
    """Dropout of whole channels, 1x1 convolution to logits.

    Its name for the convolution is the one by which nnU-Net's `-pretrained_weights` leaves heads out.
    """

    def __init__(self, inputs: int, num_classes: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.seg_layers = nn.Conv2d(inputs, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K, H, W) for x (B, C, H, W)."""
        logits: Tensor = self.seg_layers(self.dropout(x))
        return logits


class AuxHead(nn.Sequential):
    """The head that PSPNet, PSANet and DeepLabV3 train on the encoder's last map but one: 3x3 unit, dropout, 1x1."""

    def __init__(self, inputs: int, num_classes: int, *, norm: Norm) -> None:
        width = inputs // 4
        super().__init__(ConvUnit(inputs, width, norm=norm), ClassHead(width, num_classes))


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return x (B, C, ...) interpolated bilinearly to `size` (H, W), corners not aligned."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
