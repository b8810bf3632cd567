"""SpineACCUNet: ACC-UNet (Ibtehaz and Kihara, MICCAI 2023, arXiv:2308.13680) on any plan.

It is one of the two parents of paper 000's hybrid.

    input → stem → HANC blocks → pool → HANC blocks → … → HANC blocks       HANC block: `blocks/acc_hanc.py`
                        │                    │                │
                     ResPath              ResPath             │             `blocks/mlfc.py`
                        └──── MLFC, 3 times ──┘               │
                  HANC blocks ← concat ← up ─ … ─ concat ← up ┘             1x1 head at every resolution

A convolutional network that takes three ideas from Swin-UNet and UCTransNet: self-attention's comparison of a voxel
with its neighbourhood (as means and maxima), wide inverted bottlenecks, and skip connections of several levels at once.

Written from the paper and from published facts; the authors' code is under the GPL and none of it was copied.

What differs from the published code:
 - on a plan's InstanceNorm, squeeze and excitation would be undone by the norm behind it (see `blocks/acc_squeeze.py`);
 - nothing is concatenated but a decoder stage's two inputs; equal in exact arithmetic, a fraction of the memory;
 - `expand` is 1 by default, not 3, and there is a convolution before the first block: with one channel in, that block
   would squeeze the image through three channels;
 - the norms have an eps of at least 1e-3, or gradients overflow where a window is empty (see `norm_eps`);
 - the paper's factor of 34 in one decoder block (which mimics a stage of Swin) is an option;
 - raw logits: no sigmoid, and no additional background class.

What the words of a plan mean here:
 - `kernel_sizes[s]`: of the depthwise convolutions of stage s, of its ResPath and (s = 0) of the stem.
 - `strides[s]`: of the max-pooling before stage s; the windows of the neighbourhoods of stage s are the next strides.
 - `n_conv_per_stage`, `n_conv_per_stage_decoder`: HANC blocks; two in the paper.
 - `norm_op`, `nonlin`, `dropout_op`, `conv_bias`: of every convolution that a norm follows, as in nnU-Net's networks.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.acc_unet_options import PAPER_OPTIONS, ACCUNetOptions
from nnunet_spine_ext.networks.blocks.acc_hanc import HANCBlock
from nnunet_spine_ext.networks.blocks.layers import ConvNormAct, Layers
from nnunet_spine_ext.networks.blocks.mlfc import LevelCompilation, ResPath
from nnunet_spine_ext.networks.planned import Planned, PlannedNetwork, PlannedOptions, plain_words

__all__ = ["PAPER_OPTIONS", "ACCUNetOptions", "SpineACCUNet", "paper_acc_unet", "paper_architecture"]

MAX_LEVELS = 4
"""Of MLFC, as published; on a plan with more stages, deeper skips have their ResPath alone."""
TORCH_EPS = 1e-5
"""Of torch's norms, where a plan names none."""
WIDE_STAGE = 2
"""The decoder stage that `wide_expand` widens."""


class SpineACCUNet(PlannedNetwork):
    """ACC-UNet for any plan of nnU-Net, 2D and 3D (see `PlannedNetwork` for words, output and errors)."""

    options_type: ClassVar[type[PlannedOptions]] = ACCUNetOptions
    options: ACCUNetOptions

    def build(self, plan: Planned) -> None:
        """Make the encoder, and the decoder with its skip connections."""
        plan = replace(plan, layers=_steady(plan.layers, eps=self.options.norm_eps))
        self.encoder = ACCEncoder(plan, options=self.options)
        self.decoder = ACCDecoder(plan, options=self.options)


def _steady(layers: Layers, *, eps: float) -> Layers:
    """Return the layers with an eps of at least `eps` in their norm."""
    if layers.norm_op is None:
        return layers
    planned = layers.norm_op_kwargs.get("eps", TORCH_EPS)
    assert isinstance(planned, float)
    return replace(layers, norm_op_kwargs={**layers.norm_op_kwargs, "eps": max(planned, eps)})


class ACCEncoder(nn.Module):
    """HANC blocks, then max-pooling and HANC blocks for every further stage."""

    def __init__(self, plan: Planned, *, options: ACCUNetOptions) -> None:
        super().__init__()
        width = plan.input_channels
        self.stem = nn.Sequential()
        if options.stem == "conv":
            self.stem.append(ConvNormAct(width, plan.features[0], plan.kernels[0], layers=plan.layers))
            width = plan.features[0]
        self.stages = nn.ModuleList()
        for stage, outputs in enumerate(plan.features):
            pool = [plan.pool(stage)] if stage > 0 else []
            blocks = _blocks(plan, options, width, stage=stage, count=plan.convs[stage])
            self.stages.append(nn.Sequential(*pool, *blocks))
            width = outputs

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of every stage for x (B, C, ...), highest resolution first."""
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class ACCSkips(nn.Module):
    """A ResPath in every skip connection, shorter the deeper it is; then MLFC over the first levels."""

    def __init__(self, plan: Planned, *, options: ACCUNetOptions) -> None:
        super().__init__()
        self.paths, self.compilations = nn.ModuleList(), nn.ModuleList()
        if options.skip == "plain":
            return
        for stage, width in enumerate(plan.features[:-1]):
            length = max(1, MAX_LEVELS - stage)
            self.paths.append(
                ResPath(width, plan.kernels[stage], length=length, layers=plan.layers, recompute=options.recompute)
            )
        self.levels = min(MAX_LEVELS, plan.bottom)
        if options.skip == "mlfc" and self.levels > 1:
            widths, strides = plan.features[: self.levels], plan.strides[1 : self.levels]
            for _ in range(options.passes):
                self.compilations.append(
                    LevelCompilation(widths, strides=strides, layers=plan.layers, recompute=options.recompute)
                )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return what the decoder reads for the encoder's features without the bottom, highest resolution first."""
        skips = list(features)
        if self.paths:
            skips = [path(x) for path, x in zip(self.paths, skips, strict=True)]
        for compilation in self.compilations:
            skips = [*compilation(skips[: self.levels]), *skips[self.levels :]]
        return skips


class ACCDecoder(nn.Module):
    """Skip connections, decoder stages and linear heads.

    Modules are in the order of computation (lowest resolution first), as in nnU-Net's own decoder. Which heads there
    are is an option; the state does not depend on deep supervision.
    """

    def __init__(self, plan: Planned, *, options: ACCUNetOptions) -> None:
        super().__init__()
        self.deep_supervision = plan.deep_supervision
        self.skips = ACCSkips(plan, options=options)
        self.ups, self.stages, self.seg_layers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for stage, count in zip(range(plan.bottom - 1, -1, -1), plan.convs_up, strict=True):
            width = plan.features[stage]
            self.ups.append(plan.layers.transposed(plan.features[stage + 1], width, stride=plan.strides[stage + 1]))
            wide = options.wide_expand if stage == WIDE_STAGE else None
            blocks = _blocks(plan, options, 2 * width, stage=stage, count=count, wide=wide)
            self.stages.append(nn.Sequential(*blocks))
            if stage == 0 or options.heads == "every":
                self.seg_layers.append(plan.layers.pointwise(width, plan.num_classes))

    def forward(self, features: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return logits for the encoder's features (highest resolution first).

        Returns:
            (B, K, ...) at the input's size; with deep supervision a list, highest resolution first.
        """
        skips, x = self.skips(features[:-1]), features[-1]
        logits: list[Tensor] = []
        for i, (up, stage) in enumerate(zip(self.ups, self.stages, strict=True)):
            x = stage(torch.cat((up(x), skips[-1 - i]), dim=1))
            if self.deep_supervision:
                logits.append(self.seg_layers[i](x))
        return logits[::-1] if self.deep_supervision else self.seg_layers[-1](x)


def _blocks(
    plan: Planned, options: ACCUNetOptions, inputs: int, *, stage: int, count: int, wide: int | None = None
) -> list[HANCBlock]:
    """Return the blocks of a stage of encoder or decoder; `wide` replaces the expansion of all but the first."""
    width = plan.features[stage]
    expansions = [options.expand] + [wide or options.expand] * (count - 1)
    return [
        HANCBlock(
            inputs if i == 0 else width,
            width,
            plan.kernels[stage],
            strides=plan.strides[stage + 1 : stage + options.scales],
            expand=expand,
            layers=plan.layers,
            recompute=options.recompute,
        )
        for i, expand in enumerate(expansions)
    ]


def paper_architecture() -> dict[str, Any]:
    """Return the words of the published network: 2D, four poolings, widths 32 to 512, two blocks a stage."""
    return {
        **plain_words((32, 64, 128, 256, 512)),
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"negative_slope": 0.01, "inplace": True},
    }


def paper_acc_unet(*, input_channels: int = 3, num_classes: int = 1) -> SpineACCUNet:
    """Return the published network: 16,771,245 weights for three channels in and one logit out (published: 16.77 M)."""
    network = SpineACCUNet(
        input_channels=input_channels, num_classes=num_classes, options=PAPER_OPTIONS, **paper_architecture()
    )
    network.apply(network.initialize)
    return network
