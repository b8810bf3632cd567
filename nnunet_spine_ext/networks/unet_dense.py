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
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.dense import DenseBlock
from nnunet_spine_ext.networks.blocks.layers import Factory, Layers
from nnunet_spine_ext.networks.blocks.recompute import recomputed
from nnunet_spine_ext.networks.initialization import he_initialize
from nnunet_spine_ext.networks.options import NetworkOptions, is_count
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError, PerStage, PerStagePerAxis, PlanShape, check_size


@dataclass(frozen=True, kw_only=True)
class UNetDenseOptions(NetworkOptions):
    """What a plan does not say about dense blocks."""

    layers: int = 4
    """Of each dense block; 1 is the variant without dense connections inside a block."""
    heads: Literal["every", "full"] = "every"
    """A head at every level, for deep supervision, or at full resolution alone, as the paper has it."""
    recompute: bool = True
    """Compute concatenations again in the backward pass instead of keeping them (not with dropout)."""

    def wrong_values(self) -> list[str]:
        """Return a message for a number of layers that is none."""
        return [] if is_count(self.layers) else [f"layers is {self.layers!r}, expected a whole number of at least 1"]


class UNetDense(nn.Module):
    """The network for any 2D plan of nnU-Net.

    Output: logits (B, K, H, W) at the input's size; while `decoder.deep_supervision` is on, a list of n_stages - 1 of
    them, highest resolution first, at nnU-Net's default scales.

    Raises:
        NetworkPlanError: (a ValueError) words or options that do not fit together, or a 3D plan; in forward, a size
            that the strides do not divide.
    """

    def __init__(
        self,
        *,
        input_channels: int,
        n_stages: int,
        features_per_stage: PerStage,
        conv_op: type[nn.Module],
        kernel_sizes: PerStagePerAxis,
        strides: PerStagePerAxis,
        n_conv_per_stage: PerStage,  # noqa: ARG002
        n_conv_per_stage_decoder: PerStage,  # noqa: ARG002
        num_classes: int,
        conv_bias: bool = False,
        norm_op: Factory | None = None,
        norm_op_kwargs: Mapping[str, Any] | None = None,
        dropout_op: Factory | None = None,
        dropout_op_kwargs: Mapping[str, Any] | None = None,
        nonlin: Factory | None = None,
        nonlin_kwargs: Mapping[str, Any] | None = None,
        deep_supervision: bool = False,
        options: UNetDenseOptions | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.options = UNetDenseOptions.of(options)
        shape = PlanShape.from_words(
            n_stages=n_stages,
            features_per_stage=features_per_stage,
            conv_op=conv_op,
            kernel_sizes=kernel_sizes,
            strides=strides,
        )
        if deep_supervision and self.options.heads == "full":
            raise NetworkPlanError(
                "heads='full' leaves no output to supervise at lower resolutions. Train with deep supervision off "
                "(a PaperTrainer), or with heads='every'."
            )
        if shape.dims != 2:
            raise NetworkPlanError("UNetDense is two-dimensional; registry.build runs it slice by slice on 3D plans.")
        self.divisor = shape.divisor
        layers = Layers(
            axes=shape.axes,
            conv_bias=conv_bias,
            norm_op=norm_op,
            norm_op_kwargs=norm_op_kwargs or {},
            dropout_op=dropout_op,
            dropout_op_kwargs=dropout_op_kwargs or {},
            nonlin=nonlin,
            nonlin_kwargs=nonlin_kwargs or {},
        )
        parts = _Parts(shape=shape, layers=layers, options=self.options)
        self.encoder = UNetDenseEncoder(input_channels, parts=parts)
        self.decoder = UNetDenseDecoder(num_classes, parts=parts, deep_supervision=deep_supervision)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits for x (B, C, H, W)."""
        check_size(x.shape[2:], self.divisor)
        skips, bottom = self.encoder(x)
        logits: Tensor | list[Tensor] = self.decoder(skips, bottom)
        return logits

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Initialise one module; nnU-Net calls `network.apply(network.initialize)`."""
        he_initialize(module)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The numbers of each level, and its blocks."""

    shape: PlanShape
    layers: Layers
    options: UNetDenseOptions

    def width(self, level: int) -> int:
        """Return the channels that come into an encoder level, or into the bottom: the stem's and all added above."""
        return self.shape.features[0] + sum(self.shape.features[:level])

    def encoder_block(self, level: int) -> DenseBlock:
        return self._block(self.width(level), level)

    def decoder_block(self, level: int) -> DenseBlock:
        bottom = self.shape.n_stages - 1
        below = self.width(bottom) if level + 1 == bottom else self.shape.features[level + 1]
        return self._block(below + self.width(level + 1), level)

    def _block(self, inputs: int, level: int) -> DenseBlock:
        return DenseBlock(
            inputs,
            self.shape.features[level],
            layers=self.layers,
            depth=self.options.layers,
            recompute=self.options.recompute,
        )


class UNetDenseEncoder(nn.Module):
    """Stem, then a dense block and max-pooling for every level."""

    def __init__(self, inputs: int, *, parts: _Parts) -> None:
        super().__init__()
        layers, shape = parts.layers, parts.shape
        self.strides = shape.strides[1:]
        self.stem = layers.conv(inputs, shape.features[0], layers.axes.plane(3), bias=layers.conv_bias)
        self.blocks = nn.ModuleList(parts.encoder_block(level) for level in range(shape.n_stages - 1))

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

    def __init__(self, classes: int, *, parts: _Parts, deep_supervision: bool) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        levels = range(parts.shape.n_stages - 2, -1, -1)
        self.blocks = nn.ModuleList(parts.decoder_block(level) for level in levels)
        features, headed = parts.shape.features, levels if parts.options.heads == "every" else [0]
        self.seg_layers = nn.ModuleList(parts.layers.pointwise(features[level], classes) for level in headed)

    def forward(self, skips: Sequence[Sequence[Tensor]], bottom: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, K, H, W) at the input's size; with deep supervision a list, highest resolution first."""
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
        "n_stages": 4,
        "features_per_stage": [32, 64, 128, 256],
        "conv_op": nn.Conv2d,
        "kernel_sizes": [[3, 3]] * 4,
        "strides": [[1, 1]] + [[2, 2]] * 3,
        "n_conv_per_stage": 1,
        "n_conv_per_stage_decoder": 1,
        "conv_bias": True,
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
