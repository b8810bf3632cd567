"""SpineSegNet: an encoder and its mirror image, tied by the places of the maxima alone.

Sources: Badrinarayanan et al., "SegNet" (TPAMI 2017), with the encoder of VGG16; paper 004 compared one of four levels.
Written anew from the description; no code was copied.

    input → convs → max-pool → convs → max-pool → … → bottom
              ⋮ places           ⋮ places               │
    head  ← convs ← unpool ← convs ← unpool ←───────────┘

No features are passed on: unpooling puts each value at the place of the maximum of its window, and zeros elsewhere. The
head is the last 3x3 convolution.

Published: five poolings at 64, 128, 256, 512, 512 with 2, 2, 3, 3, 3 convolutions, and nothing at the bottom
(`paper_segnet(levels=5)`, 29,453,396 parameters for 20 classes). Paper 004 says four levels of 64, 128, 256, 512 and
15.21 M; with 2, 2, 3, 3 convolutions and nine classes that is 15,282,057 (`levels=4`), 0.5 % more.

A plan's patch divides exactly, so unpooling gives back the size that was pooled; any other size is refused with the
divisor.

What the words of a plan mean here:
 - `kernel_sizes[s]`, `n_conv_per_stage[s]`: of stage s, in encoder and decoder alike, because the decoder is the mirror
   image; `n_conv_per_stage_decoder` is without effect. The last convolution of a decoder stage leads to the width of
   the stage above; that of stage 0 is the head.
 - `strides[s]`: of the pooling before stage s, and of its unpooling.
 - `conv_bias`, `norm_op`, `nonlin`, `dropout_op`: as in nnU-Net's own networks.

2D only: 3D patches are taken slice by slice. InstanceNorm raises in train mode on a map of one voxel.

Axes: B batch, C channels, H W = spatial axes 0 1, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.layers import ConvNormAct
from nnunet_spine_ext.networks.planned import Planned, PlannedNetwork, plain_words
from nnunet_spine_ext.networks.planned_options import PlannedOptions
from nnunet_spine_ext.networks.segnet_options import PAPER_OPTIONS, SegNetOptions

__all__ = ["PAPER_OPTIONS", "SegNetOptions", "SpineSegNet", "paper_architecture", "paper_segnet"]

VGG16_WIDTHS = (64, 128, 256, 512, 512)
VGG16_CONVS = (2, 2, 3, 3, 3)


class SpineSegNet(PlannedNetwork):
    """SegNet for any 2D plan of nnU-Net (see `PlannedNetwork` for words, output and errors)."""

    options_type: ClassVar[type[PlannedOptions]] = SegNetOptions
    two_dimensional: ClassVar[bool] = True
    options: SegNetOptions

    def build(self, plan: Planned) -> None:
        """Make the encoder and its mirror image."""
        if self.options.bottom == "none":
            plan = replace(plan, features=(*plan.features[:-1], plan.features[-2]))
        self.encoder = SegNetEncoder(plan, bottom=self.options.bottom == "convs")
        self.decoder = SegNetDecoder(plan, options=self.options)


class SegNetEncoder(nn.Module):
    """Convolutions → max-pooling that notes where the maxima are."""

    def __init__(self, plan: Planned, *, bottom: bool) -> None:
        super().__init__()
        self.strides = [(rows, columns) for rows, columns in plan.strides[1:]]
        self.stages = nn.ModuleList()
        width = plan.input_channels
        for stage in range(plan.bottom + bottom):
            widths = [width] + [plan.features[stage]] * plan.convs[stage]
            self.stages.append(_convolutions(plan, widths, stage=stage))
            width = plan.features[stage]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the bottom for x (B, C, H, W), and the places of the maxima of each pooling, the first one first."""
        places = []
        for stage, stride in enumerate(self.strides):
            x, where = F.max_pool2d(self.stages[stage](x), stride, stride, return_indices=True)
            places.append(where)
        if len(self.stages) > len(self.strides):
            x = self.stages[-1](x)
        return x, places


class SegNetDecoder(nn.Module):
    """The mirror image: unpooling → convolutions, from the lowest resolution up, with a head at each."""

    def __init__(self, plan: Planned, *, options: SegNetOptions) -> None:
        super().__init__()
        self.deep_supervision = plan.deep_supervision
        self.unpool = options.unpool
        self.strides = [(rows, columns) for rows, columns in reversed(plan.strides[1:])]
        widths, convs = plan.features, plan.convs
        self.bottom = nn.Sequential()
        if options.bottom == "convs":
            mirrored = [widths[-1]] * convs[-1] + [widths[-2]]
            self.bottom = _convolutions(plan, mirrored, stage=plan.bottom)
        self.stages, self.seg_layers = nn.ModuleList(), nn.ModuleList()
        for stage in range(plan.bottom - 1, 0, -1):
            mirrored = [widths[stage]] * convs[stage] + [widths[stage - 1]]
            self.stages.append(_convolutions(plan, mirrored, stage=stage))
            if options.heads == "every":
                self.seg_layers.append(plan.layers.pointwise(widths[stage - 1], plan.num_classes))
        self.stages.append(_convolutions(plan, [widths[0]] * convs[0], stage=0))
        self.seg_layers.append(plan.layers.conv(widths[0], plan.num_classes, plan.kernels[0]))

    def forward(self, features: tuple[Tensor, Sequence[Tensor]]) -> Tensor | list[Tensor]:
        """Return logits for what the encoder gives.

        Returns:
            (B, K, H, W) at the input's size; with deep supervision a list, highest resolution first.
        """
        x, places = features
        x = self.bottom(x)
        logits: list[Tensor] = []
        last = len(self.stages) - 1
        for i, (stage, stride) in enumerate(zip(self.stages, self.strides, strict=True)):
            x = stage(self._unpooled(x, places[last - i], stride))
            if self.deep_supervision and i < last:
                logits.append(self.seg_layers[i](x))
        full = self.seg_layers[-1](x)
        return [full, *logits[::-1]] if self.deep_supervision else full

    def _unpooled(self, x: Tensor, places: Tensor, stride: tuple[int, int]) -> Tensor:
        size = (x.shape[2] * stride[0], x.shape[3] * stride[1])
        if self.unpool == "nearest":
            return F.interpolate(x, size=size, mode="nearest")
        return F.max_unpool2d(x, places, stride, stride, output_size=size)


def _convolutions(plan: Planned, widths: Sequence[int], *, stage: int) -> nn.Sequential:
    return nn.Sequential(*(ConvNormAct(i, o, plan.kernels[stage], layers=plan.layers) for i, o in pairwise(widths)))


def paper_architecture(levels: Literal[4, 5] = 4) -> dict[str, Any]:
    """Return the words of the published network (five levels), or of paper 004's (four)."""
    widths, convs = VGG16_WIDTHS[:levels], VGG16_CONVS[:levels]
    return plain_words((*widths, widths[-1]), convs=(*convs, convs[-1]))


def paper_segnet(*, levels: Literal[4, 5] = 5, input_channels: int = 1, num_classes: int = 20) -> SpineSegNet:
    """Return the published network, or paper 004's."""
    network = SpineSegNet(
        input_channels=input_channels, num_classes=num_classes, options=PAPER_OPTIONS, **paper_architecture(levels)
    )
    network.apply(network.initialize)
    return network
