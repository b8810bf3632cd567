"""What networks on the words of a U-Net plan have in common, in the plan's own order of axes.

    class SpineX(PlannedNetwork):
        options_type = XOptions
        def build(self, plan): self.encoder = …; self.decoder = …

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan, K classes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Axes, Shape
from nnunet_spine_ext.networks.blocks.layers import Factory, Layers
from nnunet_spine_ext.networks.initialization import he_initialize
from nnunet_spine_ext.networks.plan_shape import (
    NetworkPlanError,
    PerStage,
    PerStagePerAxis,
    PlanShape,
    check_size,
    per_stage,
)
from nnunet_spine_ext.networks.planned_options import PlannedOptions, chosen_layers

__all__ = ["Planned", "PlannedNetwork", "PlannedOptions", "plain_words"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The words of a plan, checked: what networks are built from; not kept by any module."""

    input_channels: int
    num_classes: int
    deep_supervision: bool
    features: tuple[int, ...]
    kernels: tuple[Shape, ...]
    strides: tuple[Shape, ...]
    convs: tuple[int, ...]
    convs_up: tuple[int, ...]
    """Lowest resolution first, as nnU-Net has them."""
    through_plane_axis: int | None
    patch_size: Shape | None
    layers: Layers

    @property
    def bottom(self) -> int:
        """The last stage."""
        return len(self.features) - 1

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.strides[0])

    @property
    def plane_axes(self) -> tuple[int, ...]:
        """The axes of a slice; all axes, where none runs through the planes."""
        return tuple(axis for axis in range(self.dims) if axis != self.through_plane_axis)

    def plane(self, size: int) -> Shape:
        """Return `size` on the axes of a slice, 1 on the other: a kernel, or a dilation."""
        return tuple(1 if axis == self.through_plane_axis else size for axis in range(self.dims))

    def strided_kernel(self, stage: int) -> Shape:
        """Return the kernel of the convolution that leads to `stage`: at least 3 where it strides."""
        return tuple(max(k, 3) if s > 1 else k for k, s in zip(self.kernels[stage], self.strides[stage], strict=True))

    def dilation(self, rate: int, *, stage: int) -> Shape:
        """Return the dilation for a kernel of 3 in the plane, on a map of `stage`.

        A tap that lies outside the map wherever the kernel stands is a weight that learns nothing; with the patch
        known, the rate is cut to (edge - 1) // 2 on each axis, which leaves each tap at least half of the map.
        """
        wanted = self.plane(rate)
        if self.patch_size is None:
            return wanted
        edges = [
            n // math.prod(step[axis] for step in self.strides[: stage + 1]) for axis, n in enumerate(self.patch_size)
        ]
        cut = tuple(max(1, min(r, (edge - 1) // 2)) for r, edge in zip(wanted, edges, strict=True))
        if cut != wanted:
            logger.info("Stage %d, map %s: dilation %s instead of %s", stage, tuple(edges), cut, wanted)
        return cut

    def pool(self, stage: int) -> nn.Module:
        """Return the max-pooling that leads to `stage`."""
        stride = self.strides[stage]
        op = nn.MaxPool3d if self.dims == 3 else nn.MaxPool2d
        return op(stride, stride) if max(stride) > 1 else nn.Identity()


class PlannedNetwork(nn.Module):
    """Base: takes the words of dynamic-network-architectures, so a plans file can name it by dotted path.

    `options` may be the JSON form of `options_type`. Output: logits (B, K, D, H, W) at the input's size; while
    `decoder.deep_supervision` is on, a list of n_stages - 1 of them, highest resolution first, at nnU-Net's default
    scales.

    Raises:
        NetworkPlanError: (a ValueError) words or options that do not fit together; in forward, a size that the strides
            do not divide.
    """

    options_type: ClassVar[type[PlannedOptions]] = PlannedOptions
    two_dimensional: ClassVar[bool] = False
    """Whether 3D plans are refused; `registry.build` takes their patches slice by slice."""
    options: PlannedOptions
    encoder: nn.Module
    decoder: nn.Module

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
        options: PlannedOptions | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.options = self.options_type.of(options)
        shape = PlanShape.from_words(
            n_stages=n_stages,
            features_per_stage=self.options.widths(features_per_stage),
            conv_op=conv_op,
            kernel_sizes=kernel_sizes,
            strides=strides,
        )
        if self.two_dimensional and shape.dims != 2:
            raise NetworkPlanError(
                f"{type(self).__name__} takes 2D plans; registry.build gives it 3D patches slice by slice."
            )
        if deep_supervision and self.options.heads == "full":
            raise NetworkPlanError(
                "heads='full' leaves no output to supervise at lower resolutions. Train with deep supervision off "
                "(a PaperTrainer), or with heads='every'."
            )
        self.divisor = shape.divisor
        layers = Layers(
            # No kernel is read from these axes: each stage has the plan's own.
            axes=Axes(dims=shape.dims, has_through_plane=False),
            conv_bias=conv_bias,
            norm_op=norm_op,
            norm_op_kwargs=norm_op_kwargs or {},
            dropout_op=dropout_op,
            dropout_op_kwargs=dropout_op_kwargs or {},
            nonlin=nonlin,
            nonlin_kwargs=nonlin_kwargs or {},
        )
        patch = self.options.patch_size
        self.build(
            Planned(
                input_channels=input_channels,
                num_classes=num_classes,
                deep_supervision=deep_supervision,
                features=shape.features,
                kernels=_odd(_stages(kernel_sizes, n_stages, shape.dims)),
                strides=_stages(strides, n_stages, shape.dims),
                convs=per_stage(n_conv_per_stage, n_stages, word="n_conv_per_stage"),
                convs_up=per_stage(n_conv_per_stage_decoder, n_stages - 1, word="n_conv_per_stage_decoder"),
                through_plane_axis=shape.through_plane_axis,
                patch_size=None if patch is None else _patch(patch, shape.dims),
                layers=chosen_layers(self.options, layers),
            )
        )

    def build(self, plan: Planned) -> None:
        """Make `encoder` and `decoder`. Hook."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits for x (B, C, D, H, W), or (B, C, H, W) in 2D."""
        check_size(x.shape[2:], self.divisor)
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Initialise one module; nnU-Net calls `network.apply(network.initialize)`."""
        he_initialize(module)


def plain_words(
    features: Sequence[int], *, convs: PerStage = 2, convs_up: PerStage = 2, dims: int = 2
) -> dict[str, Any]:
    """Return the words of a plan with kernels of 3 in which every stage but the first halves every axis."""
    stages = len(features)
    return {
        "n_stages": stages,
        "features_per_stage": list(features),
        "conv_op": nn.Conv3d if dims == 3 else nn.Conv2d,
        "kernel_sizes": [[3] * dims] * stages,
        "strides": [[1] * dims] + [[2] * dims] * (stages - 1),
        "n_conv_per_stage": convs,
        "n_conv_per_stage_decoder": convs_up,
        "conv_bias": True,
    }


def _patch(patch: Shape, dims: int) -> Shape:
    if len(patch) < dims:
        raise NetworkPlanError(f"patch_size is {patch}, which has fewer axes than the plan ({dims}).")
    return patch[-dims:]


def _stages(value: PerStagePerAxis, stages: int, dims: int) -> tuple[Shape, ...]:
    """Return `kernel_sizes` or `strides`, which `PlanShape` has checked, as one tuple for each stage."""
    rows: Sequence[int | Sequence[int]] = [value] * stages if isinstance(value, int) else value
    return tuple((row,) * dims if isinstance(row, int) else tuple(int(n) for n in row) for row in rows)


def _odd(kernels: tuple[Shape, ...]) -> tuple[Shape, ...]:
    if any(k % 2 == 0 for kernel in kernels for k in kernel):
        raise NetworkPlanError(f"kernel_sizes is {kernels}; this network takes odd kernels, which keep the size.")
    return kernels
