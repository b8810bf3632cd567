"""Fake files of Chu et al.: the published names, dtypes and headers, fewer voxels.

The slice axis is nibabel's first, 2 x 1.25 x 1.25 mm, qform only (sform_code 0), identity, origin 0; image int16, label
uint8 {0,1}. As in some of the real files, the spacing of the image is off by float noise.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

SIZE = (6, 30, 30)
AFFINE = np.diag([2.0, 1.25, 1.25, 1.0])
NOISY_AFFINE = np.diag([1.9999, 1.25, 1.25, 1.0])


def save(voxels: NDArray[np.generic], path: Path, affine: NDArray[np.float64] = AFFINE) -> None:
    """Write NIfTI with a qform only."""
    image = nib.Nifti1Image(voxels, affine, dtype=voxels.dtype)
    image.set_qform(affine, code=1)
    image.set_sform(None, code=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def picture(number: int, size: tuple[int, ...] = SIZE) -> NDArray[np.int16]:
    return np.random.default_rng(number).integers(0, 255, size).astype(np.int16)


def mask(size: tuple[int, ...] = SIZE) -> NDArray[np.uint8]:
    """Seven bodies, one above the other."""
    voxels = np.zeros(size, dtype=np.uint8)
    for body in range(7):
        voxels[1:5, 10:20, 4 * body + 1 : 4 * body + 3] = 1
    return voxels


def write(
    root: Path, cases: Collection[int], *, images: str = "", labels: str = "", noisy: Collection[int] = ()
) -> Path:
    """Write the flat layout, or one with folders for images and labels."""
    for number in cases:
        affine = NOISY_AFFINE if number in noisy else AFFINE
        save(picture(number), root / images / f"Img_{number:02d}.nii", affine)
        save(mask(), root / labels / f"Img_{number:02d}_Labels.nii")
    return root
