"""UNet_Dense, a comparator of paper 001: a U-Net of dense blocks with nothing between its ends.

    stem 3x3 ─ dense block ── skip [x, new] ───────────── concat ─ dense block ─ 1x1 head → logits
                   │ pool                                   ↑ nearest neighbour, new maps only
               dense block ── skip [x, new] ── concat ─ dense block
                   │ pool                        ↑ nearest neighbour
                   └─────── (no convolution) ────┘

The paper gives it as a drawing without a count of layers; four for each block, growth = new channels / 4, is the choice
here. The channel numbers in the drawing (32 to 256, then 512, 256 and 128 into the decoder's blocks) all follow. The
paper has three levels; on a plan of nnU-Net each stage but the last is a level, and the last is the pooled bottom.

What the words of a plan mean here:
 - `features_per_stage[s]`: the channels that the blocks of level s add. The last stage's has no meaning: the bottom
   has no convolution. The stem has `features_per_stage[0]`.
 - `norm_op`, `nonlin`: in front of each convolution, as dense blocks have them (the paper: BatchNorm and ReLU).
 - `conv_bias`: of the stem and of the dense blocks; heads always have one.
 - `n_conv_per_stage` and `n_conv_per_stage_decoder`: nothing; `UNetDenseOptions.layers` is their place.

Two-dimensional; a 3D patch is taken slice by slice (`slices.SliceWise`).

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.dense import DenseBlock
from nnunet_spine_ext.networks.blocks.recompute import recomputed
from nnunet_spine_ext.networks.planned import Planned, PlannedNetwork, plain_words
from nnunet_spine_ext.networks.planned_options import NOTHING_DILATED, PlannedOptions


@dataclass(frozen=True, kw_only=True)
class UNetDenseOptions(PlannedOptions):
    """What a plan does not say about dense blocks.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    without_effect: ClassVar[Mapping[str, str]] = NOTHING_DILATED

    layers: int = 4
    """Of each dense block; 1 is the variant without dense connections inside a block."""
    recompute: bool = True
    """Compute concatenations again in the backward pass instead of keeping them (not with dropout)."""


class UNetDense(PlannedNetwork):
    """The network for any 2D plan of nnU-Net (see `PlannedNetwork` for words, output and errors)."""

    options_type: ClassVar[type[PlannedOptions]] = UNetDenseOptions
    two_dimensional: ClassVar[bool] = True
    options: UNetDenseOptions
    encoder: UNetDenseEncoder
    decoder: UNetDenseDecoder

    def build(self, plan: Planned) -> None:
        """Make encoder and decoder."""
        parts = _Parts(plan=plan, options=self.options)
        self.encoder = UNetDenseEncoder(parts)
        self.decoder = UNetDenseDecoder(parts)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The numbers of each level, and its blocks."""

    plan: Planned
    options: UNetDenseOptions

    def width(self, level: int) -> int:
        """Return the channels that come into an encoder level, or into the bottom: the stem's and all added above."""
        return self.plan.features[0] + sum(self.plan.features[:level])

    def encoder_block(self, level: int) -> DenseBlock:
        return self._block(self.width(level), level)

    def decoder_block(self, level: int) -> DenseBlock:
        bottom = self.plan.bottom
        below = self.width(bottom) if level + 1 == bottom else self.plan.features[level + 1]
        return self._block(below + self.width(level + 1), level)

    def _block(self, inputs: int, level: int) -> DenseBlock:
        return DenseBlock(
            inputs,
            self.plan.features[level],
            layers=self.plan.layers,
            depth=self.options.layers,
            recompute=self.options.recompute,
        )


class UNetDenseEncoder(nn.Module):
    """Stem, then a dense block and max-pooling for every level."""

    def __init__(self, parts: _Parts) -> None:
        super().__init__()
        plan, layers = parts.plan, parts.plan.layers
        self.strides = plan.strides[1:]
        self.stem = layers.conv(plan.input_channels, plan.features[0], plan.plane(3), bias=layers.conv_bias)
        self.blocks = nn.ModuleList(parts.encoder_block(level) for level in range(plan.bottom))

    def forward(self, x: Tensor) -> tuple[list[list[Tensor]], Tensor]:
        """Return the maps of every level (block input and new ones), highest resolution first, and the bottom."""
        x = self.stem(x)
        skips: list[list[Tensor]] = []
        for block, stride in zip(self.blocks, self.strides, strict=True):
            maps = [x, *block(x)]
            skips.append(maps)
            # A pool keeps its input, which would be a copy of the maps, and indices of 8 bytes.
            x = recomputed(_Pool(stride), *maps, when=self.training)
        return skips, x


@dataclass(frozen=True)
class _Pool:
    """Max-pooling of maps put together."""

    stride: tuple[int, ...]

    def __call__(self, *maps: Tensor) -> Tensor:
        return F.max_pool2d(torch.cat(maps, dim=1), self.stride)


class UNetDenseDecoder(nn.Module):
    """A dense block on the level below and the skip, for every level; passes on new maps only (as Tiramisu does).

    Modules are in the order of computation (lowest resolution first), as in nnU-Net's own decoder. Which heads there
    are does not depend on deep supervision; the last is that of the full resolution.
    """

    def __init__(self, parts: _Parts) -> None:
        super().__init__()
        plan = parts.plan
        self.deep_supervision = plan.deep_supervision
        levels = range(plan.bottom - 1, -1, -1)
        self.blocks = nn.ModuleList(parts.decoder_block(level) for level in levels)
        headed = levels if parts.options.heads == "every" else [0]
        heads = (plan.layers.pointwise(plan.features[level], plan.num_classes) for level in headed)
        self.seg_layers = nn.ModuleList(heads)

    def forward(self, features: tuple[Sequence[Sequence[Tensor]], Tensor]) -> Tensor | list[Tensor]:
        """Return logits for what the encoder gives.

        Returns:
            (B, K, H, W) at the input's size; with deep supervision a list, highest resolution first.
        """
        skips, bottom = features
        below: Sequence[Tensor] = [bottom]
        logits: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            below = block(*below, *skips[-1 - i])
            from_full = i - len(self.blocks)
            if self.deep_supervision or from_full == -1:
                logits.append(self.seg_layers[from_full](torch.cat(list(below), dim=1)))
        return logits[::-1] if self.deep_supervision else logits[-1]


PAPER_OPTIONS = UNetDenseOptions(heads="full")
"""The paper's own form, on `paper_architecture`."""


def paper_architecture() -> dict[str, Any]:
    """Return the words of the paper's own network: three levels from 32 channels, BatchNorm and ReLU."""
    return {
        **plain_words((32, 64, 128, 256), convs=1, convs_up=1),
        "norm_op": nn.BatchNorm2d,
        "norm_op_kwargs": {},
        "nonlin": nn.ReLU,
        "nonlin_kwargs": {"inplace": True},
    }


def paper_unet_dense(*, layers: int = 4, input_channels: int = 7, num_classes: int = 1) -> UNetDense:
    """Return the paper's own network: five slices and two coordinate maps in, one structure out."""
    network = UNetDense(
        input_channels=input_channels,
        num_classes=num_classes,
        options=replace(PAPER_OPTIONS, layers=layers),
        **paper_architecture(),
    )
    network.apply(network.initialize)
    return network
