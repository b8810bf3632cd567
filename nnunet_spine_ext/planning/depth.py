"""How deep a patch reaches through thick slices.

nnU-Net shrinks a patch in proportion to the image, so of 12 slices of 880×880 its 8 GB plan sees 6 at a time. A patch
of full depth covers every slice and pays within the slice instead.

All tuples here are in the plan's axis order, which puts the axis with the largest spacing first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from nnunetv2.configuration import ANISO_THRESHOLD
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

DepthMode = Literal["auto", "full", "stock"]

MIN_FEATURE_MAP_EDGE = 4
"""nnU-Net never pools an axis below this many voxels."""

MIN_IN_PLANE_SHARE = 1 / 3
MIN_IN_PLANE_MM = 60.0
"""`auto` takes the full depth only if the patch still shows, along both in-plane axes, this share of the image and this
length: less than a third of a lumbar scan, or less than a vertebra with both its discs, says too little about which
vertebra it is."""


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A patch and the pooling that nnU-Net's rules give it."""

    patch_size: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    divisors: tuple[int, ...]
    """The patch is a multiple of these."""

    @classmethod
    def of(cls, size: Sequence[int], *, spacing_mm: Sequence[float]) -> Topology:
        """Return the topology for `size` voxels, rounded up to what the pooling can divide."""
        _, strides, kernels, patch, divisors = get_pool_and_conv_props(
            list(spacing_mm), list(size), MIN_FEATURE_MAP_EDGE, 999999
        )
        return cls(
            patch_size=tuple(int(n) for n in patch),
            strides=tuple(tuple(int(s) for s in stage) for stage in strides),
            kernel_sizes=tuple(tuple(int(k) for k in stage) for stage in kernels),
            divisors=tuple(int(d) for d in divisors),
        )


def through_plane_axis(spacing_mm: Sequence[float]) -> int | None:
    """Return the axis across thick slices, by nnU-Net's own threshold; `None` for all other images."""
    axis = max(range(len(spacing_mm)), key=lambda i: spacing_mm[i])
    others = [spacing for i, spacing in enumerate(spacing_mm) if i != axis]
    return axis if spacing_mm[axis] > ANISO_THRESHOLD * max(others) else None


def full_depth_topologies(*, shape: Sequence[float], spacing_mm: Sequence[float], axis: int) -> list[Topology]:
    """Return the patches that cover the whole median `shape` along `axis`, from the whole image downwards."""
    return shrinking_topologies(shape=shape, spacing_mm=spacing_mm, kept_axis=axis)


def shrinking_topologies(
    *, shape: Sequence[float], spacing_mm: Sequence[float], kept_axis: int | None = None
) -> list[Topology]:
    """Return ever smaller patches, from the whole median image downwards, `kept_axis` always whole.

    The other axes shrink as in nnU-Net's loop: the one that covers most of the image first, by the smallest step that
    the pooling allows.
    """
    size = [ceil(n) for n in shape]
    whole = list(size)
    shrinking = [i for i in range(len(size)) if i != kept_axis]
    found = []
    while all(size[i] >= 2 * MIN_FEATURE_MAP_EDGE for i in shrinking):
        topology = Topology.of(size, spacing_mm=spacing_mm)
        found.append(topology)
        reduced = max(shrinking, key=lambda i: topology.patch_size[i] / shape[i])
        size = list(topology.patch_size)
        size[reduced] -= _step(topology, reduced, spacing_mm)
        if kept_axis is not None:
            size[kept_axis] = whole[kept_axis]
    return found


def _step(topology: Topology, axis: int, spacing_mm: Sequence[float]) -> int:
    # nnU-Net's rule: a smaller patch may need fewer poolings, whose smaller divisor would otherwise skip valid sizes.
    trial = list(topology.patch_size)
    trial[axis] -= topology.divisors[axis]
    return Topology.of(trial, spacing_mm=spacing_mm).divisors[axis]


def largest_that_fits(topologies: Sequence[Topology], fits: Callable[[Topology], bool]) -> Topology | None:
    """Return the first of `topologies` (largest first) that fits, taking for granted that memory falls with size."""
    low, high = 0, len(topologies)
    while low < high:
        middle = (low + high) // 2
        if fits(topologies[middle]):
            high = middle
        else:
            low = middle + 1
    return topologies[low] if low < len(topologies) else None


def in_plane_shortage(
    topology: Topology, *, shape: Sequence[float], spacing_mm: Sequence[float], axis: int
) -> str | None:
    """Return in words why a patch shows too little of each slice for `auto`, or `None` if it shows enough."""
    for i in (i for i in range(len(shape)) if i != axis):
        share, length_mm = topology.patch_size[i] / shape[i], topology.patch_size[i] * spacing_mm[i]
        seen = f"{length_mm:.0f} mm, {share:.0%} of the image"
        if share < MIN_IN_PLANE_SHARE:
            return f"full depth would leave {seen}, less than {MIN_IN_PLANE_SHARE:.0%}, along axis {i}"
        if length_mm < min(MIN_IN_PLANE_MM, shape[i] * spacing_mm[i]):
            return f"full depth would leave {seen}, less than {MIN_IN_PLANE_MM:.0f} mm, along axis {i}"
    return None
