"""Fake MRSpineSeg folders: the real names, folders, headers and dtypes, a few thousand voxels.

The header is that of a real mask of the family: axes P S R, oblique by 3.4 degrees, sform only (qform_code 0), 4.4 mm
between slices. Ids are not contiguous, masks are called in lower case, images are int16, masks uint16.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

SIZE = (64, 40, 4)
"""Axes as nibabel orders them: A-P, I-S, slices. The outer quarters of A-P are empty, as in the real images."""
AFFINE = np.array(
    [
        [-6.81004275e-09, -2.04972401e-02, 4.39222050e00, -3.13577557e00],
        [-3.44827592e-01, -6.81004275e-09, -9.22245036e-08, 8.49050980e01],
        [-7.22762472e-09, 3.44217867e-01, 2.61544824e-01, -9.96287460e01],
        [0, 0, 0, 1],
    ]
)
EVERYTHING = range(1, 20)
STRUCTURE_IDS = {f"structure {i}": i for i in EVERYTHING}
COMMON = (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17)
"""All but T10, T9, T10/T11, T9/T10: 97 of the 172 real cases are like this."""


def save(voxels: NDArray[np.generic], path: Path, affine: NDArray[np.float64] = AFFINE) -> None:
    """Write NIfTI with an sform only."""
    image = nib.Nifti1Image(voxels, affine, dtype=voxels.dtype)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def picture(number: int, size: tuple[int, ...] = SIZE) -> NDArray[np.int16]:
    voxels = np.zeros(size, dtype=np.int16)
    quarter = size[0] // 4
    middle = voxels[quarter:-quarter]
    middle[:] = np.random.default_rng(number).integers(200, 3000, middle.shape)
    return voxels


def mask(structures: Collection[int], size: tuple[int, ...] = SIZE) -> NDArray[np.uint16]:
    """Two rows per structure, from the sacrum upwards, in the middle of A-P."""
    voxels = np.zeros(size, dtype=np.uint16)
    for i in structures:
        voxels[size[0] // 2 - 4 : size[0] // 2 + 4, 2 * (i - 1) : 2 * i] = i
    return voxels


def write_challenge(
    root: Path,
    cases: Mapping[int, Collection[int]],
    *,
    test1: Collection[int] = (),
    test2: Collection[int] = (),
    inside: str = "MRSpineSeg_Challenge_SMU",
) -> Path:
    """Write the challenge release: number → ids in its mask. Returns the folder that holds `train`."""
    folder = root / inside
    for number, structures in cases.items():
        save(picture(number), folder / f"train/MR/Case{number}.nii.gz")
        save(mask(structures), folder / f"train/Mask/mask_case{number}.nii.gz")
    for subset, numbers in (("test1", test1), ("test2", test2)):
        for number in numbers:
            save(picture(number), folder / f"{subset}/MR/Case{number}.nii.gz")
    return folder


def write_sibling(root: Path, cases: Collection[int], *, test: Collection[int] = ()) -> Path:
    """Write SpineSagT2Wdataset3: binary masks."""
    folder = root / "SpineSagT2Wdataset3"
    for number in cases:
        save(picture(number), folder / f"train/image/Case{number}.nii.gz")
        save((mask(range(1, 11)) > 0).astype(np.uint16), folder / f"train/groundtruth/mask_case{number}.nii.gz")
    for number in test:
        save(picture(number), folder / f"test/image/Case{number}.nii.gz")
    return folder


def write_course(root: Path, cases: Collection[int], *, test: Collection[int] = ()) -> Path:
    """Write the course release as its users arrange it."""
    folder = root / "dataset"
    for subset, numbers in (("train", cases), ("test", test)):
        for number in numbers:
            save(picture(number), folder / f"{subset}/source/Case{number}.nii.gz")
            save(mask(COMMON).astype(np.float32), folder / f"{subset}/label/mask_case{number}.nii.gz")
    return folder


def write_course_parts(root: Path, cases: Collection[int], *, test: Collection[int] = ()) -> Path:
    """Write the course release as it is downloaded: two parts and a test set without masks."""
    prefix = "mit_ai_2021_course_2_project_1_dataset"
    for number in cases:
        part = root / f"{prefix}_train_{1 + number % 2}" / "dataset" / "train"
        save(picture(number), part / f"image/Case{number}.nii.gz")
        save(mask(COMMON), part / f"groundtruth/mask_case{number}.nii.gz")
    for number in test:
        save(picture(number), root / f"{prefix}_test" / f"Case{number}.nii.gz")
    return root
