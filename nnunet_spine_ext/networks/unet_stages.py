"""Encoder and decoder of SpineUNet (see `unet`), in the plan's own order of axes.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.attention_gate import AttentionGate, GridAttentionGate
from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.cie import CIE
from nnunet_spine_ext.networks.blocks.layers import ConvNormAct, NormAct
from nnunet_spine_ext.networks.blocks.mfe import MFE
from nnunet_spine_ext.networks.blocks.recompute import recomputed
from nnunet_spine_ext.networks.blocks.residual_attention import ResidualAttention
from nnunet_spine_ext.networks.blocks.resize import LinearUp, NearestUp
from nnunet_spine_ext.networks.blocks.spconv import SPConv
from nnunet_spine_ext.networks.planned import Planned
from nnunet_spine_ext.networks.unet_options import UNetOptions

SPCONV_CHANNELS = 4
"""SPConv splits its input in two halves of two groups each."""


@dataclass(frozen=True, kw_only=True)
class UNetParts:
    """What encoder and decoder are built from; not kept by any module."""

    plan: Planned
    options: UNetOptions

    def stage(self, inputs: int, outputs: int, *, stage: int, convs: int) -> nn.Sequential:
        """Return the convolutions of a stage of encoder or decoder."""
        kernel, o = self.plan.kernels[stage], self.options
        units = self._convolutions(inputs, outputs, kernel, convs)
        if o.block != "conv_module" or stage == self.plan.bottom:
            return nn.Sequential(*units)
        context = CIE(inputs, kernel, layers=self.plan.layers)
        return nn.Sequential(context, *units, MFE(outputs, kernel, layers=self.plan.layers, fuse=o.mfe_fuse))

    def _convolutions(self, inputs: int, outputs: int, kernel: Shape, convs: int) -> list[nn.Module]:
        widths, layers = [inputs] + [outputs] * convs, self.plan.layers
        pairs = list(pairwise(widths))
        if self.options.block == "spconv":
            return [
                nn.Sequential(SPConv(i, o, kernel, layers=layers), NormAct(o, layers=layers)) for i, o in pairs
            ]  # fmt: skip
        return [ConvNormAct(i, o, kernel, layers=layers) for i, o in pairs]

    def stem(self, inputs: int) -> tuple[nn.Module, int]:
        """Return what comes before the first stage, and its width."""
        if self.options.block != "spconv" or inputs % SPCONV_CHANNELS == 0:
            return nn.Identity(), inputs
        raised = inputs + -inputs % SPCONV_CHANNELS
        layers = self.plan.layers
        return layers.conv(inputs, raised, layers.axes.space(1), bias=False), raised

    def up(self, inputs: int, *, stage: int) -> tuple[nn.Module, int]:
        """Return the up-sampling that leads from the stage below to `stage`, and its width."""
        plan, o = self.plan, self.options
        stride, width = plan.strides[stage + 1], plan.features[stage]
        if o.up == "linear":
            return LinearUp(stride), inputs
        if o.up == "nearest_conv":
            conv = ConvNormAct(inputs, width, plan.kernels[stage], layers=plan.layers)
            return nn.Sequential(NearestUp(stride), conv), width
        outputs = inputs if o.up == "transposed_same" else width
        # No norm follows, so it has a bias whatever the plan says of those that one follows.
        up = replace(plan.layers, conv_bias=True).transposed(inputs, outputs, stride=stride)
        return (nn.Sequential(up, plan.layers.act()) if o.up_act else up), outputs

    def gate(
        self, coarse: int, fine: int, *, stage: int
    ) -> ResidualAttention | AttentionGate | GridAttentionGate | None:
        """Return what acts on the skip of `stage`; `coarse` and `fine`: widths before and after up-sampling."""
        plan, layers, o = self.plan, self.plan.layers, self.options
        width, stride = plan.features[stage], plan.strides[stage + 1]
        if o.skip == "residual_attention":
            return ResidualAttention(width, coarse, layers=layers, stride=stride)
        if o.skip == "attention_gate" and o.gate == "additive":
            return AttentionGate(width, fine, layers=layers)
        if o.skip == "attention_gate" and stage > 0:  # the original leaves the full resolution alone
            return GridAttentionGate(width, coarse, layers=layers, stride=stride)
        return None

    def decoder_width(self, stage: int) -> int:
        """Return the width of a decoder stage's output."""
        return self.plan.features[max(stage - 1, 0) if self.options.narrows_in_convs else stage]


class UNetEncoder(nn.Module):
    """Convolutions, then max-pooling and convolutions for every further stage."""

    def __init__(self, parts: UNetParts) -> None:
        super().__init__()
        plan = parts.plan
        self.stem, width = parts.stem(plan.input_channels)
        self.pools = nn.ModuleList(plan.pool(stage) for stage in range(1, len(plan.features)))
        self.stages = nn.ModuleList()
        for stage, outputs in enumerate(plan.features):
            self.stages.append(parts.stage(width, outputs, stage=stage, convs=plan.convs[stage]))
            width = outputs

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of every stage for x (B, C, ...), highest resolution first."""
        x = self.stages[0](self.stem(x))
        features = [x]
        for pool, stage in zip(self.pools, self.stages[1:], strict=True):
            # Pooling keeps 8-byte indices: as much as its whole input in half precision.
            x = stage(recomputed(pool, x, when=self.training))
            features.append(x)
        return features


class UNetUp(nn.Module):
    """One decoder stage: up-sampling, concatenation with the (gated) skip, convolutions."""

    def __init__(self, inputs: int, *, parts: UNetParts, stage: int, convs: int) -> None:
        super().__init__()
        self.up, width = parts.up(inputs, stage=stage)
        self.gate = parts.gate(inputs, width, stage=stage)
        together = parts.plan.features[stage] + width
        self.convs = parts.stage(together, parts.decoder_width(stage), stage=stage, convs=convs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return the stage's features for x (B, C, ...) from below and skip (B, C', ...) from the encoder."""
        up = self.up(x)
        if self.gate is not None:
            skip = self.gate(skip, x if self.gate.gate_is_coarse else up)
        features: Tensor = self.convs(torch.cat((skip, up), dim=1))
        return features


class UNetDecoder(nn.Module):
    """Decoder stages and linear heads.

    Modules are in the order of computation (lowest resolution first), as in nnU-Net's own decoder. Which heads there
    are is an option; the state does not depend on deep supervision.
    """

    def __init__(self, parts: UNetParts) -> None:
        super().__init__()
        plan = parts.plan
        self.deep_supervision = plan.deep_supervision
        self.ups = nn.ModuleList()
        self.seg_layers = nn.ModuleList()
        width = plan.features[-1]
        for stage, n in zip(range(plan.bottom - 1, -1, -1), plan.convs_up, strict=True):
            self.ups.append(UNetUp(width, parts=parts, stage=stage, convs=n))
            width = parts.decoder_width(stage)
            if stage == 0 or parts.options.heads == "every":
                self.seg_layers.append(plan.layers.pointwise(width, plan.num_classes))

    def forward(self, features: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return logits for the encoder's features (highest resolution first).

        Returns:
            (B, K, ...) at the input's size; with deep supervision a list, highest resolution first.
        """
        x = features[-1]
        logits: list[Tensor] = []
        for i, up in enumerate(self.ups):
            x = up(x, features[-2 - i])
            if self.deep_supervision:
                logits.append(self.seg_layers[i](x))
        return logits[::-1] if self.deep_supervision else self.seg_layers[-1](x)
