"""What a header says about the body, and how far two headers of the same array are apart."""

from __future__ import annotations

import itertools

import numpy as np

from nnunet_spine_ext.data.geometry import Array, Grid

HARMLESS_SHIFT_VOXELS = 0.25
"""Largest shift of a label against its image that is taken for float noise.

Below half a voxel, resampling the label onto the image's grid (nearest neighbour) would give the very same array, so
taking the image's header instead changes nothing. A shift of exactly half a voxel is another story: it is what two
conventions (centre or corner of the first voxel) differ by. Hence a quarter.
"""
_TOWARDS = ("LR", "PA", "SI")
"""ITK's axes point to left, posterior, superior; second letter for the opposite."""


def orientation(grid: Grid) -> str:
    """Return where each array axis (x y z order) runs to, as nibabel's axis codes (`PSR`, `RAS`).

    Oblique axes get the letter of the nearest body axis.
    """
    cosines = np.reshape(grid.direction, (3, 3)).T
    nearest = [int(np.argmax(np.abs(axis))) for axis in cosines]
    return "".join(_TOWARDS[n][0 if axis[n] > 0 else 1] for axis, n in zip(cosines, nearest, strict=True))


def cranio_caudal_axis_zyx(grid: Grid) -> int:
    """Return the array axis (z y x order) that runs along the body, by the header."""
    codes = orientation(grid)
    return 2 - next((i for i, letter in enumerate(codes) if letter in "SI"), 2)


def shift_voxels(grid: Grid, reference: Grid) -> float:
    """Return how far the corner voxels of `grid` lie from those of `reference`, at most, in voxels of `reference`.

    Spacing, origin and direction enter together: what counts is where voxels come to lie. Sizes must be equal.
    """
    corners = np.array(list(itertools.product(*((0, size - 1) for size in reference.size_xyz))), dtype=float)
    offset_mm = _to_world_mm(grid, corners) - _to_world_mm(reference, corners)
    axes = np.reshape(reference.direction, (3, 3)) * np.asarray(reference.spacing_xyz_mm)
    return float(np.abs(np.linalg.solve(axes, offset_mm.T)).max())


def _to_world_mm(grid: Grid, index_xyz: Array) -> Array:
    axes = np.reshape(grid.direction, (3, 3)) * np.asarray(grid.spacing_xyz_mm)
    world: Array = np.asarray(grid.origin_xyz_mm) + index_xyz @ axes.T
    return world
