"""Fake lungs of Kaggle: the published names, folders, dtypes and axes, fewer voxels.

2D: TIFF, signed 16 bits, Hounsfield units, masks of 0 and 255 under the same name. 3D: axial slices along nibabel's
first axis, 2.5 x 0.664 x 0.664 mm, a diagonal header with the sform set (code 2), masks uint8 of 0 and 255.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

SIZE_2D = (40, 40)
SIZE = (7, 40, 40)
"""Slices, rows, columns."""
AFFINE = np.diag([2.5, 0.664062, 0.664062, 1.0])
SLICES = {2: 162, 31: 120, 59: 90, 78: 58, 100: 70, 101: 71}
"""Number of a scan → number of its middle slice. There are volumes of the first four."""


def chest(number: int, size: tuple[int, ...] = SIZE_2D) -> NDArray[np.int16]:
    """Return air, a body, two lungs in it, and padding in a corner, in HU."""
    generator = np.random.default_rng(number)
    hounsfield = np.full(size, -1000)
    hounsfield[..., 4:-4, 4:-4] = 40
    hounsfield[lungs(size) > 0] = -750
    hounsfield += generator.integers(-20, 20, size)
    hounsfield[..., :2, :2] = -2430
    return hounsfield.astype(np.int16)


def lungs(size: tuple[int, ...] = SIZE_2D) -> NDArray[np.uint8]:
    """Return two lungs of different size, 0 and 255."""
    mask = np.zeros(size, dtype=np.uint8)
    mask[..., 10:24, 8:16] = 255
    mask[..., 10:30, 24:32] = 255
    return mask


def save_tiff(array: NDArray[np.generic], path: Path, *, colours: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=colours), str(path))
    return path


def name_2d(number: int) -> str:
    return f"ID_{number:04d}_Z_{SLICES[number]:04d}.tif"


def write_slices(root: Path, numbers: Collection[int] = tuple(SLICES)) -> Path:
    for number in numbers:
        save_tiff(chest(number), root / "2d_images" / name_2d(number))
        save_tiff(lungs(), root / "2d_masks" / name_2d(number))
    return root


def save(voxels: NDArray[np.generic], path: Path, affine: NDArray[np.float64] = AFFINE) -> None:
    """Write NIfTI with an sform (code 2)."""
    image = nib.Nifti1Image(voxels, affine, dtype=voxels.dtype)
    image.set_sform(affine, code=2)
    image.set_qform(affine, code=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def volume(number: int) -> NDArray[np.int16]:
    return chest(number, SIZE)


def volume_mask() -> NDArray[np.uint8]:
    """Return lungs in all slices but the first two (the lowest, say)."""
    mask = lungs(SIZE)
    mask[:2] = 0
    return mask


def write_volumes(root: Path, numbers: Collection[int] = (2, 31, 59, 78)) -> Path:
    for number in numbers:
        save(volume(number), root / f"3d_images/IMG_{number:04d}.nii.gz")
        save(volume_mask(), root / f"3d_images/MASK_{number:04d}.nii.gz")
    return root
