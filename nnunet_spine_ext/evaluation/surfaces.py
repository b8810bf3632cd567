"""The surfaces of two masks, and how far each element of one is from the other.

Two definitions are in use, and on thick slices they differ by a factor (spacing 4.4 mm: HD95 2.7 mm against 0.7 mm):

    surfel  elements lie between 2 x 2 x 2 voxels that are neither all inside nor all outside, each with the area that
            the surface has there (Nikolov et al., arXiv 1809.04430; the areas are the package surface-distance's)
    voxel   elements are the voxels of the mask that share a face with the outside; all count alike (MONAI)

Beyond the image is outside. Distances are exact: from element to nearest element, in mm. Axes: z y x; N elements.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from surface_distance import lookup_tables

from nnunet_spine_ext.evaluation.boxes import Mask

Numbers = NDArray[np.float64]

_CODES: NDArray[np.uint8] = lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL.astype(np.uint8)
_ALL_INSIDE = 255


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The elements of one surface: (N,) distances to the other one, and how much each counts."""

    distances_mm: Numbers
    weights: Numbers


Surfaces = tuple[Surface, Surface]
"""Of the reference, of the prediction."""


def surfel_surfaces(reference: Mask, prediction: Mask, spacing_zyx_mm: tuple[float, ...]) -> Surfaces:
    """Return both surfaces as surface elements weighted by their area in mm².

    Args:
        reference: a mask that is not empty.
        prediction: the same, of the same shape.
        spacing_zyx_mm: size of a voxel along each axis.
    """
    codes = [_neighbourhoods(mask) for mask in (reference, prediction)]
    elements = [(code != 0) & (code != _ALL_INSIDE) for code in codes]
    areas = _areas(spacing_zyx_mm)
    weights = [areas[code[there]] for code, there in zip(codes, elements, strict=True)]
    return _surfaces(elements, weights, spacing_zyx_mm)


def voxel_surfaces(reference: Mask, prediction: Mask, spacing_zyx_mm: tuple[float, ...]) -> Surfaces:
    """Return both surfaces as voxels that share a face with the outside; arguments as `surfel_surfaces`."""
    elements = [_edge(mask) for mask in (reference, prediction)]
    weights = [np.ones(np.count_nonzero(there)) for there in elements]
    return _surfaces(elements, weights, spacing_zyx_mm)


SURFACES: dict[str, Callable[[Mask, Mask, tuple[float, ...]], Surfaces]] = {
    "surfel": surfel_surfaces,
    "voxel": voxel_surfaces,
}
"""Definition → its function."""


def _surfaces(elements: list[Mask], weights: list[Numbers], spacing_zyx_mm: tuple[float, ...]) -> Surfaces:
    reference, prediction = elements
    there, back = _distances(reference, prediction, spacing_zyx_mm), _distances(prediction, reference, spacing_zyx_mm)
    return Surface(distances_mm=there, weights=weights[0]), Surface(distances_mm=back, weights=weights[1])


def _distances(start: Mask, target: Mask, spacing_zyx_mm: tuple[float, ...]) -> Numbers:
    """Return the distance from every element of `start` to the nearest of `target`, in the order of the array."""
    found = np.zeros(np.count_nonzero(start))
    apart = ~target[start]  # most elements of a good prediction lie on the reference's own: nothing to look for
    if apart.any():
        points, targets = np.argwhere(start)[apart], np.argwhere(target)
        tree = cKDTree(targets * np.asarray(spacing_zyx_mm), leafsize=32, balanced_tree=False, compact_nodes=False)
        nearest = tree.query(points * np.asarray(spacing_zyx_mm))[1]
        # Again, from whole voxels: a distance of three voxels is then the same everywhere in the image.
        found[apart] = np.linalg.norm((points - targets[nearest]) * spacing_zyx_mm, axis=1)
    return found


def _edge(mask: Mask) -> Mask:
    """Return the voxels of `mask` that share a face with the outside."""
    inner = np.pad(mask, 1)
    whole = inner.copy()
    for axis in range(mask.ndim):
        low, high = (tuple(part if a == axis else slice(None) for a in range(mask.ndim)) for part in _NEIGHBOURS)
        inner[low] &= whole[high]
        inner[high] &= whole[low]
    edge: Mask = mask & ~inner[(slice(1, -1),) * mask.ndim]
    return edge


_NEIGHBOURS = (slice(None, -1), slice(1, None))


def _neighbourhoods(mask: Mask) -> NDArray[np.uint8]:
    """Return the code of the 8 voxels around every corner, one corner more than voxels along each axis."""
    padded = np.pad(mask, 1).view(np.uint8)
    codes = np.zeros([size + 1 for size in mask.shape], dtype=np.uint8)
    for offset, code in np.ndenumerate(_CODES):
        codes += code * padded[tuple(slice(o, o + n) for o, n in zip(offset, codes.shape, strict=True))]
    return codes


@functools.lru_cache(maxsize=64)
def _areas(spacing_zyx_mm: tuple[float, ...]) -> Numbers:
    """Return the area in mm² of the surface at a corner, by the code of its neighbourhood."""
    return np.asarray(lookup_tables.create_table_neighbour_code_to_surface_area(spacing_zyx_mm), dtype=np.float64)
