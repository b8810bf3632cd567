"""SpineResUNetPP: ResUNet++, a residual U-Net with squeeze and excitation, ASPP and attention in the decoder.

Sources: Jha et al., "ResUNet++: an advanced architecture for medical image segmentation" (ISM 2019), and the variant
that paper 003 ran, known by its size and operations. Written anew from descriptions; no code was copied.

    input → stem → [residual ↓2] → [residual ↓2] → … → bridge ASPP
              │          │                                 │           c: width of a stage of the plan
              │          └─────────── concat ← up ← × attention        bridge and decoder have c, the encoder c / 2
              └──── concat ← up ← × attention
                      └ residual → ASPP → 1x1 head

Published are encoders of 16, 32, 64, 128 (`paper_resunetpp(form="official")`, 4,062,996 parameters for 20 classes),
and, for paper 003, of 32, 64, 128, 256 (`form="paper003"`, 14,482,039; its table says 14 M). Decoder and bridge are
twice as wide. Here the plan gives the stages.

What the words of a plan mean here:
 - `features_per_stage`: the widest of a stage, which is the decoder's and the bridge's; the encoder has half of it, as
   published. (Read as the encoder's, the network would be four times nnU-Net's in memory.)
 - `kernel_sizes[s]`: of the convolutions of stage s in encoder and decoder, and of the attention; at least 3 on an axis
   that the same convolution strides. The dilated convolutions are 3x3 in the plane, 1 through it.
 - `strides[s]`: of the residual block that leads to stage s, of the way back up and of the max-pooling in attention.
 - `n_conv_per_stage`, `n_conv_per_stage_decoder`: a residual block stands for a pair of convolutions, so a stage of n
   has ceil(n / 2). Without effect on the stem.
 - `conv_bias`: of convolutions that a norm follows, at once or after a sum; the others always have one.
 - `norm_op`, `nonlin`, `dropout_op`: before each convolution of a residual block, as dropout → norm → nonlinearity.
   InstanceNorm would undo the squeeze and excitation before it; GroupNorm with one group stands for it (with `se`).

A plan's bottom is a few voxels wide, where dilations of 6 to 18 see nothing but padding: trainers of this package name
the patch (`patch_size`), which cuts them to half of the map. InstanceNorm raises in train mode on a map of one voxel.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.recompute import has_state, recomputed_between_convolutions
from nnunet_spine_ext.networks.blocks.resize import LinearUp, NearestUp
from nnunet_spine_ext.networks.blocks.resunetpp import DecoderAttention, PreActBlock, Stem, SummedASPP
from nnunet_spine_ext.networks.blocks.se import SqueezeExcite
from nnunet_spine_ext.networks.planned import Planned, PlannedNetwork, plain_words
from nnunet_spine_ext.networks.planned_options import PlannedOptions
from nnunet_spine_ext.networks.resunetpp_options import OFFICIAL_OPTIONS, PAPER_OPTIONS, ResUNetPPOptions

__all__ = ["PAPER_OPTIONS", "ResUNetPPOptions", "SpineResUNetPP", "paper_architecture", "paper_resunetpp"]

NARROWING = 2
"""Width of bridge and decoder over that of the encoder stage."""


class SpineResUNetPP(PlannedNetwork):
    """ResUNet++ for any plan of nnU-Net, 2D and 3D (see `PlannedNetwork` for words, output and errors)."""

    options_type: ClassVar[type[PlannedOptions]] = ResUNetPPOptions
    options: ResUNetPPOptions

    def build(self, plan: Planned) -> None:
        """Make encoder with bridge, and decoder with attention."""
        if self.options.se:
            plan = replace(plan, layers=plan.layers.keeping_channel_weights())
        self.encoder = ResUNetPPEncoder(plan, options=self.options)
        self.decoder = ResUNetPPDecoder(plan, options=self.options)


class ResUNetPPEncoder(nn.Module):
    """Stem and residual blocks, squeeze and excitation, and the bridge at the bottom."""

    def __init__(self, plan: Planned, *, options: ResUNetPPOptions) -> None:
        super().__init__()
        layers, form = plan.layers, options.form
        widths = [encoder_width(plan, stage) for stage in range(len(plan.features))]
        self.se_before = form == "paper003"
        self.stages = nn.ModuleList([Stem(plan.input_channels, widths[0], plan.kernels[0], layers=layers, form=form)])
        for stage in range(1, len(widths)):
            self.stages.append(
                nn.Sequential(
                    PreActBlock(
                        widths[stage - 1],
                        widths[stage],
                        (plan.strided_kernel(stage), plan.kernels[stage]),
                        layers=layers,
                        form=form,
                        stride=plan.strides[stage],
                    ),
                    *_more_blocks(plan, widths[stage], stage=stage, convs=plan.convs[stage], form=form),
                )
            )
        weighed = widths[:-1] if self.se_before else widths
        self.weights = nn.ModuleList(
            SqueezeExcite(width, reduction=options.reduction) if options.se else nn.Identity() for width in weighed
        )
        self.bridge = _aspp(plan, options, widths[-1], plan.features[-1], stage=plan.bottom)
        self.recompute = options.recompute and not has_state(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the skips and the bridge for x (B, C, ...), highest resolution first."""
        features = []
        again = self.recompute and self.training
        for i, stage in enumerate(self.stages):
            if self.se_before and i > 0:
                x = self.weights[i - 1](x)
            x = recomputed_between_convolutions(stage, x, when=again)
            if not self.se_before:
                x = self.weights[i](x)
            features.append(x)
        return [*features[:-1], self.bridge(x)]


class ResUNetPPUp(nn.Module):
    """One decoder stage: attention, up-sampling, concatenation with the skip, residual blocks."""

    def __init__(self, inputs: int, plan: Planned, *, options: ResUNetPPOptions, stage: int, convs: int) -> None:
        super().__init__()
        skip, stride, form = encoder_width(plan, stage), plan.strides[stage + 1], options.form
        self.attention: DecoderAttention | None = None
        if options.attention:
            kernels = (plan.kernels[stage], plan.kernels[stage + 1])
            pool = plan.pool(stage + 1)
            self.attention = DecoderAttention(skip, inputs, kernels, layers=plan.layers, pool=pool, form=form)
        self.up = NearestUp(stride) if form == "official" else LinearUp(stride)
        width, kernel = plan.features[stage], plan.kernels[stage]
        self.blocks = nn.Sequential(
            PreActBlock(inputs + skip, width, (kernel, kernel), layers=plan.layers, form=form),
            *_more_blocks(plan, width, stage=stage, convs=convs, form=form),
        )
        if options.se and form == "official":
            self.blocks.append(SqueezeExcite(width, reduction=options.reduction))
        self.recompute = options.recompute and not has_state(self)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return the stage's features for x (B, C, ...) from below and skip (B, C', ...) from the encoder."""
        again = self.recompute and self.training
        if self.attention is not None:
            x = recomputed_between_convolutions(self.attention, x, skip, when=again)
        return recomputed_between_convolutions(self._features, x, skip, when=again)

    def _features(self, x: Tensor, skip: Tensor) -> Tensor:
        features: Tensor = self.blocks(torch.cat((self.up(x), skip), dim=1))
        return features


class ResUNetPPDecoder(nn.Module):
    """Decoder stages in the order of computation, the ASPP at full resolution, and linear heads."""

    def __init__(self, plan: Planned, *, options: ResUNetPPOptions) -> None:
        super().__init__()
        self.deep_supervision = plan.deep_supervision
        self.ups, self.seg_layers = nn.ModuleList(), nn.ModuleList()
        width = plan.features[-1]
        for stage, convs in zip(range(plan.bottom - 1, -1, -1), plan.convs_up, strict=True):
            self.ups.append(ResUNetPPUp(width, plan, options=options, stage=stage, convs=convs))
            width = plan.features[stage]
            if stage > 0 and options.heads == "every":
                self.seg_layers.append(plan.layers.pointwise(width, plan.num_classes))
        narrow = encoder_width(plan, 0)
        self.output = _aspp(plan, options, width, narrow, stage=0)
        self.seg_layers.append(plan.layers.pointwise(narrow, plan.num_classes))
        self.recompute = options.recompute and not has_state(self.output)

    def forward(self, features: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return logits for the encoder's features (highest resolution first).

        Returns:
            (B, K, ...) at the input's size; with deep supervision a list, highest resolution first.
        """
        x = features[-1]
        logits: list[Tensor] = []
        last = len(self.ups) - 1
        for i, up in enumerate(self.ups):
            x = up(x, features[-2 - i])
            if self.deep_supervision and i < last:
                logits.append(self.seg_layers[i](x))
        full = recomputed_between_convolutions(self._finish, x, when=self.recompute and self.training)
        return [full, *logits[::-1]] if self.deep_supervision else full

    def _finish(self, x: Tensor) -> Tensor:
        logits: Tensor = self.seg_layers[-1](self.output(x))
        return logits


def encoder_width(plan: Planned, stage: int) -> int:
    """Return the width of an encoder stage."""
    return max(1, plan.features[stage] // NARROWING)


def _more_blocks(
    plan: Planned, width: int, *, stage: int, convs: int, form: Literal["official", "paper003"]
) -> list[nn.Module]:
    """Return the residual blocks of a stage after its first."""
    kernels = (plan.kernels[stage], plan.kernels[stage])
    return [PreActBlock(width, width, kernels, layers=plan.layers, form=form) for _ in range((convs + 1) // 2 - 1)]


def _aspp(plan: Planned, options: ResUNetPPOptions, inputs: int, outputs: int, *, stage: int) -> nn.Module:
    if options.aspp == "none":
        return plan.layers.pointwise(inputs, outputs)
    dilations = [plan.dilation(rate, stage=stage) for rate in options.wanted_rates]
    return SummedASPP(
        inputs, outputs, kernel=plan.plane(3), dilations=dilations, layers=plan.layers, form=options.form
    )  # fmt: skip


def paper_architecture(form: Literal["official", "paper003"] = "paper003") -> dict[str, Any]:
    """Return the words of a published form: four stages, in 2D."""
    return plain_words({"official": (32, 64, 128, 256), "paper003": (64, 128, 256, 512)}[form])


def paper_resunetpp(
    *, form: Literal["official", "paper003"] = "paper003", input_channels: int = 1, num_classes: int = 20
) -> SpineResUNetPP:
    """Return a published form."""
    options = OFFICIAL_OPTIONS if form == "official" else PAPER_OPTIONS
    network = SpineResUNetPP(
        input_channels=input_channels, num_classes=num_classes, options=options, **paper_architecture(form)
    )
    network.apply(network.initialize)
    return network
