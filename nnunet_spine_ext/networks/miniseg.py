"""SpineMiniSeg: few channels, depthwise convolutions; 83 thousand weights as published, half a million on eight stages.

Source: Qiu et al., "MiniSeg: an extremely minimum network for efficient COVID-19 segmentation" (AAAI 2021), which
paper 003 compared. Written from a description of the network; no code was copied.

    input ─→ stage 1 ─→ exchange ─→ stage 2 ─→ exchange ─→ …            a stage: two paths, see `blocks/miniseg.py`
               │                      │
               u₁ ←──── fusion ←───── u₂ ←──── fusion ←──── …           head on each u, enlarged by its stage's stride

What the words of a plan mean here:
 - `strides[s]`, s ≥ 1: of the network's stage s. Nothing is computed at full resolution but the enlarging of logits.
 - Stages: four are published, with widths 8, 24, 32, 64 and 2, 3, 8, 6 repeats. A plan with fewer strided stages has
   the first of them; one with more goes on with the width and repeats of the fourth.
 - `kernel_sizes[s]`: which axes the depthwise convolutions of stage s cover: 3 (dilated in the plane only) and 5 where
   the plan's kernel is more than 1; 3 where it is 1 and the stage strides.
 - `features_per_stage`, `n_conv_per_stage`, `n_conv_per_stage_decoder`, `nonlin`: without effect. The widths are the
   network's point, and PReLU is part of it.
 - `conv_bias`, `norm_op`, `dropout_op`: in every convolution that a norm follows. The other convolutions have no bias.

Deep supervision: the head on u_k gives the output at the scale of stage k - 1, so n_stages - 1 outputs as for any plan.
The authors enlarge all to full size and weigh them 1, 0.4, 0.4, 0.4 (`aux_size="full"`), which needs a loss that takes
one target for all.

A tap of a dilated convolution that lies outside a small map learns nothing: trainers of this package name the patch
(`patch_size`), which cuts the dilations. InstanceNorm raises in train mode on a map of one voxel.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.miniseg import ConvBlock, Exchange, Fusion, PyramidBlock, Reach, Stage
from nnunet_spine_ext.networks.blocks.resize import LinearUp
from nnunet_spine_ext.networks.miniseg_options import PAPER_OPTIONS, MiniSegOptions
from nnunet_spine_ext.networks.planned import Planned, PlannedNetwork, plain_words
from nnunet_spine_ext.networks.planned_options import PlannedOptions

__all__ = ["PAPER_OPTIONS", "MiniSegOptions", "SpineMiniSeg", "paper_architecture", "paper_miniseg"]

WIDTHS = (8, 24, 32, 64)
REPEATS = (2, 3, 8, 6)
FUSION_DILATIONS = (1, 2)


class SpineMiniSeg(PlannedNetwork):
    """MiniSeg for any plan of nnU-Net, 2D and 3D (see `PlannedNetwork` for words, output and errors)."""

    options_type: ClassVar[type[PlannedOptions]] = MiniSegOptions
    options: MiniSegOptions

    def build(self, plan: Planned) -> None:
        """Make the stages of two paths, and the decoder."""
        self.encoder = MiniSegEncoder(plan, options=self.options)
        self.decoder = MiniSegDecoder(plan, options=self.options)


class MiniSegEncoder(nn.Module):
    """Strided stages, with an exchange between their two paths before the next."""

    def __init__(self, plan: Planned, *, options: MiniSegOptions) -> None:
        super().__init__()
        self.stages, self.exchanges = nn.ModuleList(), nn.ModuleList()
        width = plan.input_channels
        for stage in range(1, plan.bottom + 1):
            outputs = stage_width(stage)
            if stage > 1:
                self.exchanges.append(Exchange(width, layers=plan.layers))
            self.stages.append(
                Stage(
                    width,
                    outputs,
                    block=ConvBlock if stage == 1 else PyramidBlock,
                    repeats=_of_stage(REPEATS, stage),
                    reach=_reach(plan, options, stage=stage, strided=False),
                    strided_reach=_reach(plan, options, stage=stage, strided=True),
                    layers=plan.layers,
                    stride=plan.strides[stage],
                )
            )
            width = outputs

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the narrow path of every stage for x (B, C, ...), highest resolution first."""
        wide, narrow = self.stages[0](x, x)
        features = [narrow]
        for stage, exchange in zip(self.stages[1:], self.exchanges, strict=True):
            wide, narrow = stage(*exchange(wide, narrow))
            features.append(narrow)
        return features


class MiniSegDecoder(nn.Module):
    """Laterals and fusions from the lowest resolution up, and a head at each."""

    def __init__(self, plan: Planned, *, options: MiniSegOptions) -> None:
        super().__init__()
        self.deep_supervision = plan.deep_supervision
        layers, stages = plan.layers, range(plan.bottom, 0, -1)
        bias = layers.conv_bias or options.lateral_bias
        self.laterals, self.fusions, self.acts = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.seg_layers, self.enlarge = nn.ModuleList(), nn.ModuleList()
        self.ups = nn.ModuleList(LinearUp(plan.strides[stage]) for stage in stages[:-1])
        for stage in stages:
            width = stage_width(stage)
            lateral = layers.conv(width, width, layers.axes.space(1), bias=bias)
            self.laterals.append(nn.Sequential(lateral, layers.norm(width)))
            self.acts.append(nn.PReLU(width))
            if stage < plan.bottom:
                reach = _reach(plan, options, stage=stage, strided=False, dilations=FUSION_DILATIONS)
                self.fusions.append(Fusion(stage_width(stage + 1), width, reach=reach, layers=layers))
            if stage == 1 or options.heads == "every":
                self.seg_layers.append(layers.pointwise(width, plan.num_classes))
                self.enlarge.append(LinearUp(_enlarging(plan, options, stage)))
        dropout = nn.Dropout3d if plan.dims == 3 else nn.Dropout2d
        self.dropout = dropout(options.head_dropout)

    def forward(self, features: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return logits for the encoder's features (highest resolution first).

        Returns:
            (B, K, ...) at the input's size; with deep supervision a list, highest resolution first.
        """
        merged: list[Tensor] = []
        for i, (lateral, act) in enumerate(zip(self.laterals, self.acts, strict=True)):
            x = lateral(features[-1 - i])
            if merged:
                x = self.fusions[i - 1](self.ups[i - 1](merged[-1])) + x
            merged.append(act(x))
        if not self.deep_supervision:
            return self._logits(-1, merged[-1])
        return [self._logits(i, x) for i, x in enumerate(merged)][::-1]

    def _logits(self, head: int, x: Tensor) -> Tensor:
        logits: Tensor = self.enlarge[head](self.seg_layers[head](self.dropout(x)))
        return logits


def stage_width(stage: int) -> int:
    """Return the width of a strided stage, counted from 1."""
    return _of_stage(WIDTHS, stage)


def _of_stage(table: Sequence[int], stage: int) -> int:
    return table[min(stage, len(table)) - 1]


def _reach(
    plan: Planned, options: MiniSegOptions, *, stage: int, strided: bool, dilations: Sequence[int] | None = None
) -> Reach:
    """Return the kernels and dilations of a stage; a strided convolution covers 3 voxels where it strides."""
    wanted = plan.strided_kernel(stage) if strided else plan.kernels[stage]
    rates = options.dilations if dilations is None else dilations
    return Reach(
        small=tuple(3 if k > 1 else 1 for k in wanted),
        wide=tuple(5 if k > 1 else w for k, w in zip(plan.kernels[stage], wanted, strict=True)),
        dilations=tuple(plan.dilation(rate, stage=stage) for rate in rates),
        attention=options.attention,
    )


def _enlarging(plan: Planned, options: MiniSegOptions, stage: int) -> Shape:
    """Return by how much the logits of a stage are enlarged: to the stage before, or to full size."""
    if options.aux_size == "scales":
        return plan.strides[stage]
    return tuple(math.prod(step[axis] for step in plan.strides[: stage + 1]) for axis in range(plan.dims))


def paper_architecture() -> dict[str, Any]:
    """Return the words of the published network: four strided stages, in 2D."""
    return plain_words((8, *WIDTHS))


def paper_miniseg(*, aux: bool = False, input_channels: int = 1, num_classes: int = 20) -> SpineMiniSeg:
    """Return the published network; with `aux`, its further heads, which are enlarged to full size."""
    options = MiniSegOptions(
        norm="batch",
        bias="no",
        lateral_bias=True,
        heads="every" if aux else "full",
        aux_size="full" if aux else "scales",
    )
    network = SpineMiniSeg(
        input_channels=input_channels, num_classes=num_classes, options=options, **paper_architecture()
    )
    network.apply(network.initialize)
    return network
