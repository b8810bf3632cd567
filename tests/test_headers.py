"""Orientation codes against nibabel, shifts against a naive loop over all voxels."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from nnunet_spine_ext.data.geometry import Grid, read_grid
from nnunet_spine_ext.data.headers import cranio_caudal_axis_zyx, orientation, shift_voxels
from tests.data import mrspineseg

GRID = Grid(
    size_xyz=(4, 5, 6),
    spacing_xyz_mm=(0.5, 2.0, 4.0),
    origin_xyz_mm=(1.0, -2.0, 3.0),
    direction=(0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_codes_are_those_of_nibabel(axes: tuple[int, ...], signs: tuple[int, ...], tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) * signs)[:, axes] * (0.5, 2.0, 4.0)
    tilt = np.array([[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]])
    affine[:3, :3] = tilt @ affine[:3, :3]
    mrspineseg.save(np.zeros((2, 3, 4), np.uint8), tmp_path / "image.nii", affine)
    codes = "".join(nib.aff2axcodes(affine))
    grid = read_grid(tmp_path / "image.nii")
    assert orientation(grid) == codes
    assert cranio_caudal_axis_zyx(grid) == 2 - next(i for i, c in enumerate(codes) if c in "SI")


def naive_shift(grid: Grid, reference: Grid) -> float:
    """Largest distance over all voxels, along the axes of the reference."""
    worst = 0.0
    for index in np.ndindex(*reference.size_xyz):
        worlds = []
        for g in (grid, reference):
            offset = np.reshape(g.direction, (3, 3)) @ (np.array(index) * g.spacing_xyz_mm)
            worlds.append(np.array(g.origin_xyz_mm) + offset)
        along = np.reshape(reference.direction, (3, 3)).T @ (worlds[0] - worlds[1])
        worst = max(worst, *np.abs(along / reference.spacing_xyz_mm))
    return worst


def other(**changes: tuple[float, ...]) -> Grid:
    return Grid(
        size_xyz=GRID.size_xyz,
        spacing_xyz_mm=changes.get("spacing", GRID.spacing_xyz_mm),
        origin_xyz_mm=changes.get("origin", GRID.origin_xyz_mm),
        direction=changes.get("direction", GRID.direction),
    )


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        (GRID, 0.0),
        (other(spacing=(0.5, 2.0, 4.4)), 0.5),  # five steps, each a tenth of a voxel too long
        (other(origin=(1.0, -1.0, 3.0)), 2.0),  # 1 mm along the first axis, whose voxels are 0.5 mm
        (other(origin=(1.0, -2.0, 4.0)), 0.5),  # 1 mm against the second axis, whose voxels are 2 mm
        (other(direction=(0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0)), 6.0),  # mirrored: 2 x 3 steps
    ],
)
def test_shift_of_worked_examples(grid: Grid, expected: float) -> None:
    assert shift_voxels(grid, GRID) == pytest.approx(expected)
    assert naive_shift(grid, GRID) == pytest.approx(expected)


def test_shift_of_a_rotation_is_that_of_the_worst_voxel() -> None:
    turn = np.array([[np.cos(0.02), -np.sin(0.02), 0], [np.sin(0.02), np.cos(0.02), 0], [0, 0, 1]])
    rotated = other(direction=tuple((turn @ np.reshape(GRID.direction, (3, 3))).ravel()))
    assert shift_voxels(rotated, GRID) == pytest.approx(naive_shift(rotated, GRID))
