"""What the words of a U-Net plan say about the shape of a network, checked once.

The words are those of dynamic-network-architectures (`n_stages, features_per_stage, conv_op, kernel_sizes, strides …`).
The through-plane axis is not among them; it is read from kernels and strides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_spine_ext.errors import PlanError
from nnunet_spine_ext.networks.blocks.axes import Axes, Shape

if TYPE_CHECKING:
    from torch import nn

PerStage = int | Sequence[int]
PerStagePerAxis = int | Sequence[int] | Sequence[Sequence[int]]


class NetworkPlanError(PlanError, ValueError):
    """A network cannot be built from these words, or cannot take this input."""


@dataclass(frozen=True, kw_only=True)
class PlanShape:
    """Stages of a U-shape: widths, strides and the through-plane axis.

    `strides` are in the network's own axis order, in which the through-plane axis comes first; `order[i]` is the plan's
    axis that the network has as axis i.
    """

    n_stages: int
    features: tuple[int, ...]
    strides: tuple[Shape, ...]
    through_plane_axis: int | None
    """In the plan's order; None for 2D and for isotropic plans."""
    dims: int

    @classmethod
    def from_words(
        cls,
        *,
        n_stages: int,
        features_per_stage: PerStage,
        conv_op: type[nn.Module],
        kernel_sizes: PerStagePerAxis,
        strides: PerStagePerAxis,
        force_through_plane: bool = False,
    ) -> PlanShape:
        """Check the words and return the shape.

        `force_through_plane` takes axis 0 where a 3D plan shows no through-plane axis.

        Raises:
            NetworkPlanError: words that do not fit together; all of them are named.
        """
        dims = plan_dims(conv_op)
        if n_stages < 2:
            raise NetworkPlanError(f"n_stages is {n_stages}; a U-shape needs at least 2.")
        features = per_stage(features_per_stage, n_stages, word="features_per_stage")
        kernels = _per_stage_per_axis(kernel_sizes, n_stages, dims, word="kernel_sizes")
        steps = _per_stage_per_axis(strides, n_stages, dims, word="strides")
        if max(steps[0]) != 1:
            raise NetworkPlanError(
                f"strides[0] is {list(steps[0])}; it must be 1 on every axis, because the logits have the input's size."
            )
        axis = through_plane_axis(kernels, steps) if dims == 3 else None
        if axis is None and force_through_plane and dims == 3:
            axis = 0
        order = _order(axis, dims)
        return cls(
            n_stages=n_stages,
            features=features,
            strides=tuple(tuple(step[i] for i in order) for step in steps),
            through_plane_axis=axis,
            dims=dims,
        )

    @property
    def order(self) -> Shape:
        """The plan's axis that is the network's axis 0, 1 (and 2)."""
        return _order(self.through_plane_axis, self.dims)

    @property
    def axes(self) -> Axes:
        """The axes as the blocks see them."""
        return Axes(dims=self.dims, has_through_plane=self.through_plane_axis is not None)

    @property
    def divisor(self) -> Shape:
        """What each axis of the input must be a multiple of, in the plan's order."""
        total = [math.prod(step[i] for step in self.strides) for i in range(self.dims)]
        return tuple(total[self.order.index(axis)] for axis in range(self.dims))


def check_size(size: Sequence[int], divisor: Sequence[int]) -> None:
    """Check the spatial size of an input, in the plan's order. Kept plain, because torch.compile reads it.

    Raises:
        NetworkPlanError: an axis is not a multiple of its divisor.
    """
    for axis in range(len(divisor)):
        if size[axis] % divisor[axis] != 0:
            raise NetworkPlanError(
                f"An input of size {tuple(size)} does not fit the strides of this network: the size must be a multiple "
                f"of {tuple(divisor)}. Pad the input, or plan another patch size."
            )


def through_plane_axis(kernel_sizes: Sequence[Sequence[int]], strides: Sequence[Sequence[int]]) -> int | None:
    """Return the axis along which the slices are thick, or None when the plan treats all axes alike.

    nnU-Net gives an axis at least twice as coarse as the finest one a kernel of 1 in the first stage, and does not pool
    it at first. So it is the one axis with kernel 1 where the others have more; failing that, the one axis that the
    first strided stage leaves alone. The total stride says nothing: an isotropic patch of 128 x 112 x 160 is pooled one
    time less on its shortest axis, but in the last stage.
    """
    first_strided = next((step for step in strides if max(step) > 1), strides[0])
    for values in (kernel_sizes[0], first_strided):
        ones = [axis for axis, value in enumerate(values) if value == 1]
        if len(ones) == 1:
            return ones[0]
    return None


def per_stage(value: PerStage, stages: int, *, word: str) -> tuple[int, ...]:
    """Return one positive integer for each stage; a single one stands for all.

    Raises:
        NetworkPlanError: wrong number, or not positive.
    """
    values = (value,) * stages if isinstance(value, int) else tuple(int(v) for v in value)
    if len(values) != stages or min(values, default=0) < 1:
        raise NetworkPlanError(f"{word} is {value}; expected {stages} positive integers, one for each stage.")
    return values


def _per_stage_per_axis(value: PerStagePerAxis, stages: int, dims: int, *, word: str) -> tuple[Shape, ...]:
    rows: tuple[int | Sequence[int], ...] = (value,) * stages if isinstance(value, int) else tuple(value)
    shapes = tuple((row,) * dims if isinstance(row, int) else tuple(int(v) for v in row) for row in rows)
    if len(shapes) != stages or any(len(shape) != dims or min(shape) < 1 for shape in shapes):
        raise NetworkPlanError(f"{word} is {value}; expected {stages} stages of {dims} positive integers.")
    return shapes


def _order(through_plane: int | None, dims: int) -> Shape:
    axes = list(range(dims))
    if through_plane is not None:
        axes.insert(0, axes.pop(through_plane))
    return tuple(axes)


def plan_dims(conv_op: type[nn.Module]) -> int:
    """Return 2 or 3, the dimensions of a plan's convolution class.

    Raises:
        NetworkPlanError: another class, or the dotted path of one.
    """
    from torch import nn  # here, because rows and options need this module, and torch takes seconds

    for dims, op in ((2, nn.Conv2d), (3, nn.Conv3d)):
        if isinstance(conv_op, type) and issubclass(conv_op, op):
            return dims
    raise NetworkPlanError(f"conv_op is {conv_op!r}; expected torch.nn.Conv2d or torch.nn.Conv3d (the class).")
