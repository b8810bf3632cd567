"""Bring a prediction and a reference onto one grid when one of them is a box cut out of the other's grid.

Nothing is resampled: grids that differ by more than a whole-voxel box are a finding.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from nnunet_spine_ext.data.geometry import Array, Grid

_TOLERANCE_VOXELS = 0.01


def box_start_xyz(outer: Grid, inner: Grid) -> tuple[int, ...] | None:
    """Return where `inner` begins in `outer`, in voxels, if it is a box of whole voxels of `outer`; else None."""
    moved = dataclasses.replace(inner, size_xyz=outer.size_xyz, origin_xyz_mm=outer.origin_xyz_mm)
    if moved.differences(outer):
        return None
    dimensions = len(outer.size_xyz)
    axes_mm = np.reshape(outer.direction, (dimensions, dimensions)) * np.asarray(outer.spacing_xyz_mm)
    exact = np.linalg.solve(axes_mm, np.subtract(inner.origin_xyz_mm, outer.origin_xyz_mm))
    start = np.rint(exact).astype(int)
    fits = (start >= 0).all() and (start + inner.size_xyz <= outer.size_xyz).all()
    if not fits or np.abs(exact - start).max() > _TOLERANCE_VOXELS:
        return None
    return tuple(int(i) for i in start)


def misfit(reference: Grid, prediction: Grid) -> list[str]:
    """Return in words why two grids cannot be compared; empty when one is (a box of) the other."""
    if box_start_xyz(reference, prediction) is not None or box_start_xyz(prediction, reference) is not None:
        return []
    return prediction.differences(reference) or ["offset by a fraction of a voxel"]


def on_common_grid(
    reference: Array, reference_grid: Grid, prediction: Array, prediction_grid: Grid
) -> tuple[Array, Array]:
    """Return both label maps (z y x) on the larger of the two grids; what a cut-out file does not show is background.

    Raises:
        ValueError: neither grid is a box of the other (see `misfit`).
    """
    if box_start_xyz(reference_grid, prediction_grid) is not None:
        return reference, on_grid(prediction, prediction_grid, reference_grid)
    return on_grid(reference, reference_grid, prediction_grid), prediction


def on_grid(array: Array, grid: Grid, target: Grid) -> Array:
    """Return an array (z y x) that lies on `grid` as it lies on `target`: cut out, or with zeros around it.

    Raises:
        ValueError: neither grid is a box of the other (see `misfit`).
    """
    start = box_start_xyz(target, grid)
    if start is not None:
        if grid.size_xyz == target.size_xyz:
            return array
        whole = np.zeros(target.size_xyz[::-1], dtype=array.dtype)
        whole[_box(start, grid)] = array
        return whole
    start = box_start_xyz(grid, target)
    if start is not None:
        return array[_box(start, target)]
    raise ValueError(f"grids differ: {'; '.join(misfit(target, grid))}")


def _box(start_xyz: tuple[int, ...], grid: Grid) -> tuple[slice, ...]:
    """Return the index (z y x) of a grid's voxels in a larger one."""
    return tuple(slice(i, i + n) for i, n in zip(start_xyz[::-1], grid.size_xyz[::-1], strict=True))
