"""NIfTI headers that readers refuse although they mean something: read here, with what had to be straightened.

ITK refuses an sform whose axes are off a right angle by more than about 1e-4; nibabel refuses a qform whose quaternion
is longer than 1 by more than float32 rounding. Files with such headers come from scanners' and tools' rounding.
"""

from __future__ import annotations

import gzip
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from nnunet_spine_ext.data.geometry import Array, Grid
from nnunet_spine_ext.data.integrity import is_gzip

NEARLY = 0.01
"""Largest error of a direction cosine, and of a squared quaternion's length, that is taken for rounding.

0.01 is 0.6 degrees: no anatomy is distorted by more than one per cent.
"""
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Straightened:
    """An image whose axes were turned to the nearest right-angled ones."""

    image: sitk.Image
    cosine_error: float
    """Largest change of a direction cosine."""
    shift_mm: float
    """How far the corner voxels moved, at most; the middle of the image stayed."""


def straightened(path: Path) -> Straightened | None:
    """Read a 3D NIfTI file whose sform is nearly orthonormal; None if it is not nearly so, or nonsense.

    The nearest orthonormal matrix is the orthogonal factor of the polar decomposition (from the SVD).

    Raises:
        OSError, ValueError: nibabel cannot read the file either.
    """
    file = nib.load(path)
    affine = np.asarray(file.affine, dtype=float)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if len(file.shape) != 3 or not np.isfinite(affine).all() or spacing.min() <= 0:
        return None
    cosines = _RAS_TO_LPS @ affine[:3, :3] / spacing
    left, _, right = np.linalg.svd(cosines)
    nearest = left @ right
    error = float(np.abs(nearest - cosines).max())
    if error > NEARLY:
        return None
    middle = (np.array(file.shape) - 1) / 2
    origin = _RAS_TO_LPS @ affine[:3, 3] + (cosines - nearest) * spacing @ middle
    grid = Grid(
        size_xyz=tuple(int(n) for n in file.shape),
        spacing_xyz_mm=tuple(float(x) for x in spacing),
        origin_xyz_mm=tuple(float(x) for x in origin),
        direction=tuple(float(x) for x in nearest.ravel()),
    )
    corners = np.array(list(itertools.product(*((-m, m) for m in middle))))
    shift = np.linalg.norm(corners @ ((cosines - nearest) * spacing).T, axis=1).max()
    return Straightened(image=grid.place(_voxels_zyx(file)), cosine_error=error, shift_mm=float(shift))


def quaternion_excess(path: Path) -> float | None:
    """Return by how much nibabel finds the squared length of a file's quaternion too long; None if it does not.

    None as well for files whose qform is not used, and for those that are no single-file NIfTI-1.
    """
    header = _header(path)
    if header is None or int(header["qform_code"]) <= 0 or int(header["sform_code"]) > 0:
        return None
    vector = np.array([header[f"quatern_{letter}"] for letter in "bcd"])
    excess = float(np.sum(vector.astype(float) ** 2) - 1)
    return excess if excess > 3 * np.finfo(vector.dtype).eps else None


def _header(path: Path) -> Any | None:  # noqa: ANN401 - nibabel has no types
    with gzip.open(path) if is_gzip(path) else path.open("rb") as stream:
        block = stream.read(348)
    # NIfTI-2 is not read by ITK at all.
    return nib.Nifti1Header(block, check=False) if len(block) == 348 and block[344:347] == b"n+1" else None


def _voxels_zyx(file: Any) -> Array:  # noqa: ANN401 - nibabel has no types
    array = np.asanyarray(file.dataobj).T
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
