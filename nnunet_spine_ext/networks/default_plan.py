"""The architecture that nnU-Net would plan for a patch, for showing a network before any dataset is planned.

Restates nnU-Net's rule from its behaviour (nnU-Net 2.8, default planner), without importing it:
- an axis is halved while its map keeps at least 4 voxels and its voxels are less than twice as large as the smallest
  of such axes; if only one axis is left, it must have 12 voxels;
- a kernel is 1 on an axis until its voxels are less than twice as large as the smallest, then 3; the last stage has 3;
- widths double from 32 up to 320 in 3D and 512 in 2D.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError

MIN_EDGE = 4
BASE_FEATURES = 32
MAX_FEATURES = {2: 512, 3: 320}
THICK_SLICE_RATIO = 4.4 / 0.3448
"""Slice thickness over pixel size of sagittal T2 spine MRI (MRSpineSeg): 4.4 mm over 0.3448 mm."""


def default_spacing(patch_size: Sequence[int]) -> tuple[float, ...]:
    """Return a plausible voxel size (in pixels) for a patch.

    A 3D patch with fewer than half as many slices as its shorter in-plane axis is read as thick slices, as in sagittal
    spine MRI; any other as isotropic.
    """
    if len(patch_size) == 3 and 2 * patch_size[0] < min(patch_size[1:]):
        return (THICK_SLICE_RATIO, 1.0, 1.0)
    return (1.0,) * len(patch_size)


def default_architecture(patch_size: Sequence[int], *, spacing: Sequence[float] | None = None) -> dict[str, Any]:
    """Return the words of the plan that nnU-Net's default planner makes for a patch.

    The plan is for `padded_patch`, which differs where the patch is no multiple of the total stride.

    Args:
        patch_size: voxels on each axis, 2 or 3 of them.
        spacing: voxel size in any unit; `default_spacing` if None.

    Raises:
        NetworkPlanError: the patch has not 2 or 3 axes, or is too small for two stages.
    """
    dims = len(patch_size)
    if dims not in MAX_FEATURES or min(patch_size) < 1:
        raise NetworkPlanError(f"The patch is {tuple(patch_size)}; expected 2 or 3 positive sizes.")
    kernels, strides = _topology(list(patch_size), list(spacing or default_spacing(patch_size)))
    stages = len(strides)
    if stages < 2:
        raise NetworkPlanError(f"The patch is {tuple(patch_size)}; no axis is long enough to be halved (12 voxels).")
    return {
        "n_stages": stages,
        "features_per_stage": [min(BASE_FEATURES * 2**s, MAX_FEATURES[dims]) for s in range(stages)],
        "conv_op": nn.Conv3d if dims == 3 else nn.Conv2d,
        "kernel_sizes": kernels,
        "strides": strides,
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d if dims == 3 else nn.InstanceNorm2d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }


def padded_patch(patch_size: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the patch rounded up to multiples of the total stride, as nnU-Net does."""
    divisors = [math.prod(axis) for axis in zip(*strides, strict=True)]
    return tuple(-(-n // d) * d for n, d in zip(patch_size, divisors, strict=True))


def _topology(size: list[int], spacing: list[float]) -> tuple[list[list[int]], list[list[int]]]:
    """Return kernel sizes and strides, stage by stage."""
    dims = len(size)
    kernel, kernels, strides = [1] * dims, [], [[1] * dims]
    while halved := _axes_to_halve(size, spacing):
        kernel = [3 if k == 3 or s < 2 * min(spacing) else 1 for k, s in zip(kernel, spacing, strict=True)]
        kernels.append(kernel)
        strides.append([2 if axis in halved else 1 for axis in range(dims)])
        size = [-(-n // 2) if axis in halved else n for axis, n in enumerate(size)]
        spacing = [2 * s if axis in halved else s for axis, s in enumerate(spacing)]
    return [*kernels, [3] * dims], strides


def _axes_to_halve(size: list[int], spacing: list[float]) -> list[int]:
    """Return the axes that the next stage strides by 2."""
    large = [axis for axis, n in enumerate(size) if n >= 2 * MIN_EDGE]
    if not large:
        return []
    finest = min(spacing[axis] for axis in large)
    halved = [axis for axis in large if spacing[axis] < 2 * finest]
    if len(halved) == 1 and size[halved[0]] < 3 * MIN_EDGE:
        return []
    return halved
