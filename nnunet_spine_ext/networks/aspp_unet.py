"""SpineASPPUNet: a U-Net whose way down looks at every map at several scales before it halves it.

Source: paper 004, "Spine MRI image segmentation method based on ASPP and U-Net network" (Cai et al., MBE 20(9), 2023).
No code is known; written from the text.

    input → convs ─→ ASPP → max-pool → convs ─→ ASPP → max-pool → … → bottom
              └─ skip                    └─ skip                        │
                   └ concat → convs → head  └ concat → convs ← transposed conv

The skip is taken before ASPP ("after each DC module"), so ASPP serves the way down alone.

The paper prints 22.06 M parameters and shows no table of layers. Read literally (one DC first, then four times DC,
ASPP, max-pool; nothing at the bottom; transposed convolutions that keep their width; nine classes) it is the network of
`paper_aspp_unet` with 21,995,465, 0.3 % less; that is the nearest natural reading, not proof of it. The U-Net-2D beside
it (15.08 M) is under no such reading this network without its ASPPs (10.14 M).

What differs here: that count has a BatchNorm on the pooled line of each ASPP (1,920 parameters), which is one voxel for
each image. The paper trained batches of 2, of which BatchNorm leaves little there; it is an option (`pooled_norm`), off
in its trainer too. The concatenation in ASPP is never made (`blocks/aspp.py`).

What the words of a plan mean here:
 - `kernel_sizes[s]`: of the convolutions of stage s. The dilated lines are 3x3 in the plane, 1 through it, whatever the
   plan has. Where there is no through-plane axis, they look along all axes.
 - `strides[s]`: of the max-pooling before stage s, and of the way back up.
 - `n_conv_per_stage`, `n_conv_per_stage_decoder`: convolutions, as in nnU-Net's own networks.
 - `conv_bias`: of convolutions that a norm follows; the others always have one.
 - `norm_op`, `nonlin`, `dropout_op`: in every convolution → dropout → norm → nonlinearity unit.

InstanceNorm raises in train mode on a map of one voxel. Whether there is one depends on the patch, not on these words.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan, K classes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn

from nnunet_spine_ext.networks.aspp_unet_options import PAPER_OPTIONS, ASPPUNetOptions
from nnunet_spine_ext.networks.blocks.aspp import ASPP
from nnunet_spine_ext.networks.blocks.layers import ConvNormAct
from nnunet_spine_ext.networks.planned import Planned, PlannedNetwork, plain_words
from nnunet_spine_ext.networks.planned_options import PlannedOptions
from nnunet_spine_ext.networks.unet_options import UNetOptions
from nnunet_spine_ext.networks.unet_stages import UNetDecoder, UNetParts

__all__ = ["PAPER_OPTIONS", "ASPPUNetOptions", "SpineASPPUNet", "paper_architecture", "paper_aspp_unet"]

logger = logging.getLogger(__name__)


class SpineASPPUNet(PlannedNetwork):
    """ASPP-UNet for any plan of nnU-Net, 2D and 3D (see `PlannedNetwork` for words, output and errors)."""

    options_type: ClassVar[type[PlannedOptions]] = ASPPUNetOptions
    options: ASPPUNetOptions

    def build(self, plan: Planned) -> None:
        """Make the encoder with its ASPPs, and the decoder of a U-Net."""
        if self.options.bottom == "none":
            plan = replace(plan, features=(*plan.features[:-1], plan.features[-2]))
        stages = aspp_stages(self.options, plan)
        self.encoder = ASPPUNetEncoder(plan, options=self.options, stages=stages)
        decoder = UNetOptions(up=self.options.up, heads=self.options.heads)
        self.decoder = UNetDecoder(UNetParts(plan=plan, options=decoder))
        logger.info("SpineASPPUNet: ASPP (%s) in stages %s of %d", self.options.aspp, list(stages), len(plan.features))


class ASPPUNetEncoder(nn.Module):
    """Convolutions → (skip) → ASPP → max-pooling for every stage but the last."""

    def __init__(self, plan: Planned, *, options: ASPPUNetOptions, stages: Sequence[int]) -> None:
        super().__init__()
        self.stages, self.contexts, self.pools = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width = plan.input_channels
        for stage, outputs in enumerate(plan.features[:-1]):
            self.stages.append(_convolutions(plan, width, stage=stage))
            self.contexts.append(_aspp(plan, options, stage=stage) if stage in stages else nn.Identity())
            self.pools.append(plan.pool(stage + 1))
            width = outputs
        self.bottom = _convolutions(plan, width, stage=plan.bottom) if options.bottom == "convs" else nn.Identity()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the skips and the bottom for x (B, C, ...), highest resolution first."""
        features = []
        for stage, context, pool in zip(self.stages, self.contexts, self.pools, strict=True):
            x = stage(x)
            features.append(x)
            x = pool(context(x))
        return [*features, self.bottom(x)]


def aspp_stages(options: ASPPUNetOptions, plan: Planned) -> tuple[int, ...]:
    """Return the stages that have an ASPP; never the last."""
    if options.aspp == "none":
        return ()
    flags = options.aspp_stages[: plan.bottom]
    return tuple(stage for stage, wanted in enumerate(flags) if wanted)


def _convolutions(plan: Planned, inputs: int, *, stage: int) -> nn.Sequential:
    widths = [inputs] + [plan.features[stage]] * plan.convs[stage]
    return nn.Sequential(*(ConvNormAct(i, o, plan.kernels[stage], layers=plan.layers) for i, o in pairwise(widths)))


def _aspp(plan: Planned, options: ASPPUNetOptions, *, stage: int) -> ASPP:
    width = plan.features[stage]
    rates = options.rates if options.aspp == "dilated" else (1,) * len(options.rates)
    pooled = {"plane": plan.plane_axes, "space": tuple(range(plan.dims)), "none": ()}[options.pool_axes]
    return ASPP(
        width,
        width,
        kernel=plan.plane(3),
        dilations=[plan.dilation(rate, stage=stage) for rate in rates],
        layers=plan.layers,
        width=options.width(width),
        pooled_axes=pooled,
        pooled_norm=options.pooled_norm,
    )


def paper_architecture() -> dict[str, Any]:
    """Return the words of the paper's own network: four poolings; the DC that comes first is part of stage 0."""
    return plain_words((64, 128, 256, 512, 512), convs=(4, 2, 2, 2, 2), convs_up=2)


def paper_aspp_unet(
    *,
    aspp_stages: Sequence[bool] = (True, True, True, True),
    pooled_norm: bool = True,
    input_channels: int = 1,
    num_classes: int = 9,
) -> SpineASPPUNet:
    """Return the paper's own network, or one of the rows of its ablation (table 2)."""
    options = replace(PAPER_OPTIONS, aspp_stages=tuple(aspp_stages), pooled_norm=pooled_norm)
    network = SpineASPPUNet(
        input_channels=input_channels, num_classes=num_classes, options=options, **paper_architecture()
    )
    network.apply(network.initialize)
    return network
