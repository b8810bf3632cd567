"""Encoder and decoder of SpineHybrid (see `hybrid`), in the network's own axis order.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 (D through the planes, if there is such an axis), K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.hanc import HANCLink
from nnunet_spine_ext.networks.blocks.layers import ConvNormAct, Layers
from nnunet_spine_ext.networks.blocks.recompute import recomputed_between_convolutions
from nnunet_spine_ext.networks.blocks.residual import ResBlock
from nnunet_spine_ext.networks.blocks.upsample import UpBlock
from nnunet_spine_ext.networks.blocks.ux import DenseUXBlock, UXBlock
from nnunet_spine_ext.networks.hybrid_options import HybridOptions
from nnunet_spine_ext.networks.plan_shape import PlanShape


@dataclass(frozen=True, kw_only=True)
class HybridParts:
    """What encoder, links and decoder are built from; not kept by any module."""

    shape: PlanShape
    layers: Layers
    options: HybridOptions

    @property
    def first_stage(self) -> int:
        """The stage of the stem's output: 1 with the strided stem, else 0."""
        return 1 if self.options.stem == "strided" else 0

    def plane_block(self, channels: int) -> nn.Module:
        """Return one block of an encoder stage."""
        o = self.options
        if o.plane_block == "res":
            return ResBlock(channels, channels, layers=self.layers, recompute=o.recompute)
        if o.ux_variant == "dense":
            return DenseUXBlock(channels, layers=self.layers, kernel=o.plane_kernel, second_conv=o.ux_second_conv)
        return UXBlock(
            channels, layers=self.layers, kernel=o.plane_kernel, layer_scale=o.layer_scale, recompute=o.recompute
        )

    def link(self, stage: int) -> nn.Module:
        """Return the block of the skip connection of `stage`, or of the bottleneck."""
        o, channels = self.options, self.shape.features[stage]
        if o.link_block == "identity":
            return nn.Identity()
        if o.link_block == "res":
            return ResBlock(channels, channels, layers=self.layers, recompute=o.recompute)
        expansion = o.bottleneck_expand if stage == self.shape.n_stages - 1 else o.link_expand
        return HANCLink(
            channels, layers=self.layers, form=o.hanc_form, thickness=o.thickness, expansion=expansion,
            recompute=o.recompute,
        )  # fmt: skip

    def stem(self, inputs: int) -> nn.Module:
        """Return the first convolution."""
        outputs, stride = self.shape.features[self.first_stage], self.shape.strides[self.first_stage]
        kernel = self.layers.axes.plane(self.options.stem_kernel, stride=stride)
        if self.options.stem_norm:
            return ConvNormAct(inputs, outputs, kernel, layers=self.layers, stride=stride)
        return self.layers.conv(inputs, outputs, kernel, stride=stride)


class HybridEncoder(nn.Module):
    """Stem, then plane blocks and a down-sampling residual block for every stage."""

    def __init__(self, inputs: int, *, parts: HybridParts, convs: Sequence[int]) -> None:
        super().__init__()
        shape = parts.shape
        self.stem = parts.stem(inputs)
        self.planes = nn.ModuleList()
        self.downs = nn.ModuleList()
        for stage in range(parts.first_stage, shape.n_stages - 1):
            width, blocks = shape.features[stage], (convs[stage] + 1) // 2
            self.planes.append(nn.Sequential(*(parts.plane_block(width) for _ in range(blocks))))
            self.downs.append(
                ResBlock(
                    width, shape.features[stage + 1], layers=parts.layers, stride=shape.strides[stage + 1],
                    recompute=parts.options.recompute,
                )
            )  # fmt: skip

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of every stage for x (B, C, D, H, W), highest resolution first."""
        x = self.stem(x)
        features = [x]
        for plane, down in zip(self.planes, self.downs, strict=True):
            x = down(plane(x))
            features.append(x)
        return features


class HybridDecoder(nn.Module):
    """Up-sampling blocks on the linked features, and a linear head for every resolution.

    Modules are in the order of computation (lowest resolution first), as in nnU-Net's own decoder. All heads are always
    built, so that the state does not depend on deep supervision.
    """

    def __init__(self, classes: int, *, parts: HybridParts, convs: Sequence[int], deep_supervision: bool) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        shape, layers = parts.shape, parts.layers
        self.ups = nn.ModuleList()
        self.seg_layers = nn.ModuleList()
        for i, stage in enumerate(range(shape.n_stages - 1, 0, -1)):
            width, outputs = shape.features[stage], shape.features[stage - 1]
            inputs = width if i == 0 else 2 * width
            # The transposed convolution is the first of the stage's convolutions. At least one follows it, because a
            # transposed convolution whose kernel is its stride mixes no neighbours.
            self.ups.append(
                UpBlock(
                    inputs, outputs, layers=layers, stride=shape.strides[stage], convs=max(1, convs[i] - 1),
                    recompute=parts.options.recompute,
                )
            )  # fmt: skip
            self.seg_layers.append(layers.pointwise(outputs, classes))
        width = shape.features[0]
        inputs = width if parts.first_stage == 1 else 2 * width
        self.output = ResBlock(inputs, width, layers=layers, recompute=parts.options.recompute)

    def forward(self, linked: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return logits for the linked features (highest resolution first).

        Returns:
            (B, K, D, H, W) at the input's size; with deep supervision a list, highest resolution first.
        """
        x = linked[-1]
        logits: list[Tensor] = []
        for i, (up, head) in enumerate(zip(self.ups, self.seg_layers, strict=True)):
            x = up(x) if i == 0 else up(x, linked[-1 - i])
            if self.deep_supervision and i < len(self.ups) - 1:
                logits.append(head(x))
        skip = linked[:1] if len(linked) > len(self.ups) else []
        again = self.output.recompute and self.training
        logits.append(recomputed_between_convolutions(self._finish, x, *skip, when=again))
        return logits[::-1] if self.deep_supervision else logits[-1]

    def _finish(self, x: Tensor, *skip: Tensor) -> Tensor:
        """Return the logits at full resolution; what the head alone reads is not kept for backward."""
        logits: Tensor = self.seg_layers[-1](self.output.compute_joined(x, *skip))
        return logits
