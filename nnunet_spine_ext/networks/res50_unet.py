"""Res50_UNet (paper 001): a ResNeXt-50 encoder, a feature pyramid of five levels, and a head on all of them.

    x ─ encoder ─ c1 (1/2) … c5 (1/32)
        l_k = conv 1x1 (c_k) → 64             p_5 = l_5(c_5),  p_k = l_k(c_k) + nearest(p_(k+1))
        s_1 = unit(p_1),  s_k = (unit, bilinear x2) k - 1 times on p_k     unit = conv 3x3 → GroupNorm 32 → ReLU
        logits = bilinear (conv 1x1 (s_1 + … + s_5))

That is torchvision's ResNeXt50-32x4d and the semantic head of Panoptic FPN (Kirillov et al. 2019), with one more level
at 1/2; the paper's "decoder blocks" are the sums p_k, which have no weights but the laterals'. The paper names the
encoder "resnet50_32x4d", which does not exist, and labels its figure ResNet-50: read as `resnext50_32x4d`;
`encoder="resnet50"` is the other reading, with the same widths. Lateral kernels, norm, interpolation and the last
convolution are Panoptic FPN's, because the figure says no more than "conv" and "upsample".

The paper's input is five slices and two coordinate maps. Both come from outside (`slices.SliceWise`); they are switched
off by the row's options "slices": {"neighbours": 0, "coordinates": False}.

Any slice size: padded with zeros on the far sides to a multiple of 32, and cropped again.

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.encoder import RESOLUTIONS, BackboneEncoder
from nnunet_spine_ext.networks.backbones.layers import ConvUnit, resized
from nnunet_spine_ext.networks.backbones.norms import Norm
from nnunet_spine_ext.networks.initialization import he_initialize
from nnunet_spine_ext.networks.options import NetworkOptions
from nnunet_spine_ext.networks.slice_network import SliceNetwork

STRIDE = 2**RESOLUTIONS
"""Of the encoder's last map: what the padded size is a multiple of."""


@dataclass(frozen=True, kw_only=True)
class Res50UNetOptions(NetworkOptions):
    """What can be changed; the defaults are the paper's."""

    encoder: str = "resnext50_32x4d"
    """A name of `backbones.encoder.BackboneEncoder`; "resnet50" is the other reading of the paper."""
    norm: Norm = "batch"
    """Of the encoder. `group` or `instance` for batches of few slices; the head has GroupNorm in any case."""
    width: int = 64
    """Channels of laterals and head."""
    all_levels: bool = True
    """Whether the head reads all five levels of the pyramid. False: the highest alone, the variant without the paper's
    multi-scale head."""

    def wrong_values(self) -> list[str]:
        """Return a message for a name that is none."""
        if isinstance(self.encoder, str) and self.encoder:
            return []
        return [f"encoder is {self.encoder!r}, expected a name"]


class Res50UNet(SliceNetwork):
    """The network for slices of any size.

    Raises:
        NetworkPlanError: (a ValueError) options that are not allowed; in training, a single slice of at most 32 x 32.
    """

    initialize = staticmethod(he_initialize)

    def __init__(
        self,
        *,
        input_channels: int,
        num_classes: int,
        patch_size: Sequence[int],  # noqa: ARG002  (any size)
        options: Res50UNetOptions | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.options = Res50UNetOptions.of(options)
        width = self.options.width
        self.encoder = BackboneEncoder(
            self.options.encoder, input_channels=input_channels, output_stride=STRIDE, norm=self.options.norm
        )
        self.pyramid = FeaturePyramid(self.encoder.channels, width)
        self.head = PanopticHead(width, num_classes, levels=RESOLUTIONS if self.options.all_levels else 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K, H, W) for x (B, C, H, W)."""
        rows, columns = x.shape[2:]
        padded = F.pad(x, (0, -columns % STRIDE, 0, -rows % STRIDE))
        logits = self.head(self.pyramid(self.encoder(padded)))
        return resized(logits, padded.shape[2:])[:, :, :rows, :columns]


class FeaturePyramid(nn.Module):
    """Laterals to one width, added from the lowest resolution upwards (Lin et al. 2017), without smoothing."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return a map (B, width, ...) for each of the encoder's, highest resolution first."""
        levels: list[Tensor] = []
        for lateral, feature in zip(reversed(self.laterals), reversed(features), strict=True):
            level = lateral(feature)
            if levels:
                level = level + F.interpolate(levels[-1], size=level.shape[2:], mode="nearest")
            levels.append(level)
        return levels[::-1]


class PanopticHead(nn.Module):
    """Brings each level to the highest resolution by convolutions and doublings, adds them, and gives logits.

    Args:
        width: channels of all levels.
        num_classes: logits for each voxel.
        levels: of the pyramid that are read, from the highest resolution.
    """

    def __init__(self, width: int, num_classes: int, *, levels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_branch(width, doublings=level) for level in range(levels))
        # The name by which nnU-Net's -pretrained_weights leaves heads out.
        self.seg_layers = nn.ModuleList([nn.Conv2d(width, num_classes, 1)])

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return logits at the highest resolution of `levels` (highest first, each half the size of the one before)."""
        total = self.branches[0](levels[0])
        for branch, level in zip(self.branches[1:], levels[1:], strict=False):
            total = total + branch(level)
        logits: Tensor = self.seg_layers[0](total)
        return logits


def _branch(width: int, *, doublings: int) -> nn.Sequential:
    """Return a unit and a doubling, `doublings` times; a unit alone for none."""
    if doublings == 0:
        return nn.Sequential(_unit(width))
    return nn.Sequential(*(part for _ in range(doublings) for part in (_unit(width), _Doubling())))


def _unit(width: int) -> nn.Module:
    return ConvUnit(width, width, norm="group")


class _Doubling(nn.Module):
    """Bilinear interpolation to twice the size."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def paper_res50_unet(*, encoder: str = "resnext50_32x4d", input_channels: int = 7, num_classes: int = 1) -> Res50UNet:
    """Return the paper's own network: five slices and two coordinate maps in, one structure out."""
    network = Res50UNet(
        input_channels=input_channels,
        num_classes=num_classes,
        patch_size=(256, 256),
        options=Res50UNetOptions(encoder=encoder),
    )
    network.apply(network.initialize)
    return network
