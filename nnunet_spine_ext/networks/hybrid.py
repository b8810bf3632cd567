"""SpineHybrid: a U-Net that works in the plane on its way down and up, and across slices in its skip connections.

Source: paper 000, "Automatic spine segmentation based on an UNet combining 2D and 3D modules" (South China University
of Technology, course design, 2023) and its published code, for T2 spine MRI of 12 thick slices. Written anew from the
description; nothing is copied.

    input → stem → [plane block → down] … ─────────────┐           plane block: large-kernel UX block in the plane
              │            │                         link          down: residual block, conv 1x3x3 strided, conv 3x3x3
              │           link ────── concat ─ up ←────┘           link: HANC block across 3, 5 and 7 slices
             link ─────────────────── concat ─ up                  up: transposed conv, conv 1x3x3
                                                └─ residual block → 1x1x1 head → logits

`plane_block` in {ux, res} and `link_block` in {hanc, res} give the four networks that the paper compares.

Mended here, against the paper's code:
 1. Its LayerNorm has one weight per voxel, which ties it to one patch size and makes up 234 of its 1013 million weights
    → the plan's norm, or GroupNorm with one group (same statistics, one weight per channel); LayerNorm over channels
    only inside the UX block.
 2. The UX block calls its first pair of convolutions twice (tied weights) and never the second it builds (dead weights,
    which also stop DistributedDataParallel) → two pairs of their own, both called (`blocks/ux.py`).
 3. Shortcut convolutions are built where none is used → built only where the width changes.
 4. One output channel behind LayerNorm and GELU, regressed with MSE: its level depends on the mean over the crop
    → a linear head with one logit per class.
 5. Mean pooling over 7 slices fails in a volume of fewer, and darkens the border
    → windows cut off at the border (`blocks/pooling.py`).
 6. The first convolution is 27x27 without a norm → 7x7 with norm; the paper's is an option.
 7. A strided convolution with kernel 1 discards every second slice where a plan pools through the planes
    → a kernel of 3 on every strided axis.
 8. The link concatenates nine maps → never made (`blocks/hanc.py`).

What the words of a plan mean here:
 - `kernel_sizes`: only which axis runs through the planes (`plan_shape.through_plane_axis`); the kernels themselves are
   this network's definition. Where there is none (isotropic 3D, 2D), "in the plane" is every axis, and the link's
   neighbourhoods are squares or cubes; a line in the log says so.
 - `n_conv_per_stage[s]`: a plane block stands for nnU-Net's pair of convolutions, so a stage of n has ceil(n / 2).
   Without effect at the bottleneck (its block is the link) and, with the strided stem, at stage 0 (it has no encoder).
 - `n_conv_per_stage_decoder`: n counts the transposed convolution; n - 1 (at least one) convolutions follow it.
 - `conv_bias`: of convolutions that a norm follows; the others always have one.
 - `norm_op`, `nonlin`, `dropout_op`: in every convolution → dropout → norm → nonlinearity unit, unless `HybridOptions`
   says otherwise. The depthwise UX block keeps its own norm and GELU; the plan's dropout acts on its branch.

InstanceNorm raises in train mode on a map of one voxel. Whether there is one depends on the patch, not on these words:
plan a bottleneck of at least two voxels (nnU-Net plans at least 4 on each pooled axis).

Axes: B batch, C channels, D H W = spatial axes 0 1 2 in the plan's order, K classes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.layers import Factory, GroupNorm1, Layers
from nnunet_spine_ext.networks.hybrid_options import PAPER_OPTIONS, HybridOptions
from nnunet_spine_ext.networks.hybrid_stages import HybridDecoder, HybridEncoder, HybridParts
from nnunet_spine_ext.networks.initialization import he_initialize
from nnunet_spine_ext.networks.plan_shape import PerStage, PerStagePerAxis, PlanShape, check_size, per_stage

__all__ = ["PAPER_OPTIONS", "HybridOptions", "SpineHybrid", "paper_architecture", "paper_hybrid"]

logger = logging.getLogger(__name__)


# Not a `PlannedNetwork`, although it takes the same words: its axes have an order of their own, its kernels are not the
# plan's, all its heads are always built, and its options name other layers. Each would be a hook with one user.
class SpineHybrid(nn.Module):
    """The hybrid of paper 000 for any plan of nnU-Net, 2D and 3D.

    Takes the words of dynamic-network-architectures, so a plans file can name it by dotted path; `options` may then be
    the JSON form of `HybridOptions`. Output: logits (B, K, D, H, W) at the input's size; while
    `decoder.deep_supervision` is on, a list of n_stages - 1 of them, highest resolution first, at nnU-Net's default
    scales.

    Raises:
        NetworkPlanError: (a ValueError) words or options that do not fit together; in forward, a size that the strides
            do not divide.
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
        n_conv_per_stage: PerStage,
        n_conv_per_stage_decoder: PerStage,
        num_classes: int,
        conv_bias: bool = False,
        norm_op: Factory | None = None,
        norm_op_kwargs: Mapping[str, Any] | None = None,
        dropout_op: Factory | None = None,
        dropout_op_kwargs: Mapping[str, Any] | None = None,
        nonlin: Factory | None = None,
        nonlin_kwargs: Mapping[str, Any] | None = None,
        deep_supervision: bool = False,
        options: HybridOptions | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.options = HybridOptions.of(options)
        width = self.options.width
        shape = PlanShape.from_words(
            n_stages=n_stages,
            features_per_stage=paper_features(width, n_stages) if width else features_per_stage,
            conv_op=conv_op,
            kernel_sizes=kernel_sizes,
            strides=strides,
            force_through_plane=self.options.force_hybrid,
        )
        self.divisor = shape.divisor
        self.through_plane_axis = shape.through_plane_axis
        gelu = self.options.activation == "gelu"
        group1 = self.options.norm == "group1"
        layers = Layers(
            axes=shape.axes,
            conv_bias=conv_bias,
            norm_op=GroupNorm1 if group1 else norm_op,
            norm_op_kwargs={} if group1 else norm_op_kwargs or {},
            dropout_op=dropout_op,
            dropout_op_kwargs=dropout_op_kwargs or {},
            nonlin=nn.GELU if gelu else nonlin,
            nonlin_kwargs={} if gelu else nonlin_kwargs or {},
        ).keeping_inputs()
        parts = HybridParts(shape=shape, layers=layers, options=self.options)
        convs = per_stage(n_conv_per_stage, n_stages, word="n_conv_per_stage")
        convs_up = per_stage(n_conv_per_stage_decoder, n_stages - 1, word="n_conv_per_stage_decoder")
        self.encoder = HybridEncoder(input_channels, parts=parts, convs=convs)
        self.links = nn.ModuleList(parts.link(stage) for stage in range(parts.first_stage, n_stages))
        self.decoder = HybridDecoder(num_classes, parts=parts, convs=convs_up, deep_supervision=deep_supervision)
        logger.info("SpineHybrid: %s", _describe_axes(shape))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits for x (B, C, D, H, W), or (B, C, H, W) in 2D."""
        check_size(x.shape[2:], self.divisor)
        axis = self.through_plane_axis
        if axis:
            x = x.movedim(2 + axis, 2)
        features = self.encoder(x)
        logits = self.decoder([link(feature) for link, feature in zip(self.links, features, strict=True)])
        if not axis:
            return logits  # type: ignore[no-any-return]
        if isinstance(logits, list):
            return [one.movedim(2, 2 + axis) for one in logits]
        return logits.movedim(2, 2 + axis)  # type: ignore[no-any-return]

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Initialise one module; nnU-Net calls `network.apply(network.initialize)`."""
        he_initialize(module)


def paper_features(width: int, n_stages: int) -> tuple[int, ...]:
    """Return the paper's widths for each stage: h, h, 2h, 4h, 8h, 16h, and 16h beyond."""
    return (width, *(width * 2 ** min(stage, 4) for stage in range(n_stages - 1)))


def paper_architecture(width: int = 64) -> dict[str, Any]:
    """Return the words of the paper's own network: six stages, pooled in the plane only, for 12 x 128 x 128 windows."""
    return {
        "n_stages": 6,
        "features_per_stage": paper_features(width, 6),
        "conv_op": nn.Conv3d,
        "kernel_sizes": [[1, 3, 3]] * 6,
        "strides": [[1, 1, 1]] + [[1, 2, 2]] * 5,
        "n_conv_per_stage": 2,
        "n_conv_per_stage_decoder": 2,
        "conv_bias": False,
    }


def paper_hybrid(
    *,
    width: int = 64,
    plane_block: Literal["ux", "res"] = "ux",
    link_block: Literal["hanc", "res"] = "hanc",
    ux_second_conv: Literal["2d", "3d"] = "2d",
    input_channels: int = 1,
    num_classes: int = 2,
    deep_supervision: bool = False,
) -> SpineHybrid:
    """Return the paper's own network, or one of its three ablations, with the defects mended.

    The paper's parameter counts (1 012 865 948 at width 64) follow from this network's exactly, term by term; the tests
    hold the arithmetic.
    """
    options = replace(
        PAPER_OPTIONS, plane_block=plane_block, link_block=link_block, ux_second_conv=ux_second_conv, width=width
    )
    network = SpineHybrid(
        input_channels=input_channels,
        num_classes=num_classes,
        deep_supervision=deep_supervision,
        options=options,
        **paper_architecture(width),
    )
    network.apply(network.initialize)
    return network


def _describe_axes(shape: PlanShape) -> str:
    """Return in words how the network reads the plan's axes."""
    if shape.through_plane_axis is not None:
        return f"through-plane axis {shape.through_plane_axis}; links exchange across slices"
    if shape.dims == 2:
        return "2D plan: no exchange between slices; links compare square neighbourhoods"
    return "3D plan without a through-plane axis: all kernels and neighbourhoods are cubes (force_hybrid takes axis 0)"
