"""Fake downloads of the datasets that `published` does not hold, behind the same face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from tests.data import lungs, spider, verse
from tests.dataset_conversion.published import NUMBERS, Published

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def save_mha(array: NDArray[np.generic], path: Path, affine: NDArray[np.float64]) -> None:
    """Write an array in nibabel's order of axes under nibabel's affine."""
    image = sitk.GetImageFromArray(array.T, isVector=False)
    if image.GetDimension() == 3:
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetOrigin((_RAS_TO_LPS @ affine[:3, 3]).tolist())
        image.SetDirection((_RAS_TO_LPS @ affine[:3, :3] / spacing).ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=True)


def series(root: Path) -> Published:
    names = [f"{number}_t2" for number in NUMBERS]
    spider.write(root, names, overview=False)
    axes = _RAS_TO_LPS @ np.reshape(spider.PIR_DIRECTION, (3, 3)) * spider.SPACING
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, _RAS_TO_LPS @ [20.0, -60.0, 40.0]
    return Published(
        name="spider",
        arguments=("spider", root),
        source=root,
        image=lambda n: root / f"images/{n}_t2.mha",
        label=lambda n: root / f"masks/{n}_t2.mha",
        picture=lambda n: spider.picture(n).T,
        mask=lambda: spider.mask().T,
        save=save_mha,
        affine=affine,
        highest_id=225,
    )


def _save_nifti(array: NDArray[np.generic], path: Path, affine: NDArray[np.float64]) -> None:
    nib.save(nib.Nifti1Image(array, affine, dtype=array.dtype), path)


def scans(root: Path) -> Published:
    folder = "dataset-verse20training"
    verse.write(root, {folder: [f"sub-verse{number:03d}" for number in NUMBERS]})
    for number in NUMBERS:
        verse.centroids_path(root, folder, f"sub-verse{number:03d}").unlink()
    return Published(
        name="verse",
        arguments=("verse", root),
        source=root,
        image=lambda n: verse.image_path(root, folder, f"sub-verse{n:03d}"),
        label=lambda n: verse.label_path(root, folder, f"sub-verse{n:03d}"),
        picture=verse.ct_ras,
        mask=verse.mask_ras,
        save=_save_nifti,
        affine=verse.AFFINE_RAS,
        highest_id=28,
    )


def volumes(root: Path) -> Published:
    lungs.write_volumes(root, NUMBERS)
    return Published(
        name="lung3d",
        arguments=("lung3d", root),
        source=root,
        image=lambda n: root / f"3d_images/IMG_{n:04d}.nii.gz",
        label=lambda n: root / f"3d_images/MASK_{n:04d}.nii.gz",
        picture=lungs.volume,
        mask=lungs.volume_mask,
        save=lungs.save,
        affine=lungs.AFFINE,
        highest_id=1,
    )


MORE: dict[str, Callable[[Path], Published]] = {"spider": series, "verse": scans, "lung3d": volumes}
