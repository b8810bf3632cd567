"""Cropped files are placed by their geometry; anything else is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nnunet_spine_ext.data.geometry import Grid, voxels
from nnunet_spine_ext.evaluation.placing import box_start_xyz, misfit, on_common_grid, on_grid

# The direction of the challenge's family: axes point back, up, right, tilted by 3.4 degrees.
TILTED = (0.0, 0.05944199, -0.99823176, 1.0, 0.0, 0.0, 0.0, 0.99823176, 0.05944199)
WHOLE = Grid(
    size_xyz=(12, 10, 5), spacing_xyz_mm=(0.34, 0.34, 4.4), origin_xyz_mm=(3.0, -84.0, -99.0), direction=TILTED
)


def cut(start_xyz: tuple[int, int, int], size_xyz: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Return a whole array, a box of it, and the box's grid as SimpleITK's own slicing gives it."""
    whole = np.arange(12 * 10 * 5, dtype=np.uint16).reshape(5, 10, 12) + 1
    box = tuple(slice(a, a + n) for a, n in zip(start_xyz, size_xyz, strict=True))
    image = WHOLE.place(whole)[box]
    return whole, voxels(image), Grid.of(image)


def test_box_is_placed_where_simpleitk_cut_it() -> None:
    whole, box, grid = cut((3, 2, 1), (6, 5, 3))
    assert box_start_xyz(WHOLE, grid) == (3, 2, 1)
    assert misfit(WHOLE, grid) == misfit(grid, WHOLE) == []
    expected = np.zeros_like(whole)
    expected[1:4, 2:7, 3:9] = whole[1:4, 2:7, 3:9]
    reference, prediction = on_common_grid(whole, WHOLE, box, grid)
    assert (reference == whole).all()
    assert (prediction == expected).all()
    reference, prediction = on_common_grid(box, grid, whole, WHOLE)
    assert (reference == expected).all()
    assert (prediction == whole).all()


def test_equal_grids_are_left_alone() -> None:
    whole, _, _ = cut((0, 0, 0), (12, 10, 5))
    reference, prediction = on_common_grid(whole, WHOLE, whole, WHOLE)
    assert reference is whole
    assert prediction is whole


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"spacing_xyz_mm": (0.35, 0.34, 4.4)}, "spacing"),
        ({"direction": (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)}, "direction"),
        ({"origin_xyz_mm": (3.0, -84.0, -98.9)}, "origin"),
        ({"size_xyz": (13, 9, 5)}, "size"),
        # A whole voxel off along the second axis: neither holds the other.
        ({"origin_xyz_mm": (3.0 - 0.34 * 0.05944199, -84.0, -99.0 - 0.34 * 0.99823176)}, "origin"),
    ],
)
def test_other_differences_are_named(change: dict[str, tuple[float, ...]], word: str) -> None:
    other = dataclasses.replace(WHOLE, **change)
    assert any(word in found for found in misfit(WHOLE, other))
    array = np.zeros(other.size_xyz[::-1], np.uint8)
    with pytest.raises(ValueError, match=word):
        on_common_grid(np.zeros((5, 10, 12), np.uint8), WHOLE, array, other)


def test_whole_array_is_cut_to_a_box() -> None:
    whole, box, grid = cut((3, 2, 1), (6, 5, 3))
    assert (on_grid(whole, WHOLE, grid) == box).all()
