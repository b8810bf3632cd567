"""The challenge's test folder, perfect predictions for it, and ways to spoil a label map."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_spine_ext.data.geometry import Array, Grid, read_image, voxels, write_image

TEST_CASES = (1, 3, 4)


def reference_mask(challenge: Path, number: int) -> Path:
    return challenge / "test1_reference" / f"mask_case{number}.nii.gz"


def as_uint8(image: sitk.Image) -> sitk.Image:
    return Grid.of(image).place(voxels(image).astype(np.uint8))


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder / "segmentation_results"


def packed(folder: Path, archive: Path, *, inside: str = "segmentation_results") -> Path:
    with zipfile.ZipFile(archive, "w") as opened:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            opened.write(file, f"{inside}/{file.relative_to(folder)}" if inside else file.name)
    return archive


def change(file: Path, how: Callable[[sitk.Image], sitk.Image]) -> None:
    write_image(how(read_image(file)), file)


def shifted(image: sitk.Image) -> sitk.Image:
    image.SetOrigin([x + 3 for x in image.GetOrigin()])
    return image


def resampled(image: sitk.Image) -> sitk.Image:
    return sitk.Resample(
        image, [n // 2 for n in image.GetSize()], sitk.Transform(), sitk.sitkNearestNeighbor,
        image.GetOrigin(), [2 * s for s in image.GetSpacing()], image.GetDirection(),
    )  # fmt: skip


def with_values(change_array: Callable[[Array], Array]) -> Callable[[sitk.Image], sitk.Image]:
    return lambda image: Grid.of(image).place(change_array(voxels(image)))


def with_label_20(array: Array) -> Array:
    array[0, 0, 0] = 20
    return array


WRONG_MAPS: dict[str, tuple[Callable[[sitk.Image], sitk.Image], str]] = {
    "shifted": (shifted, "does not lie on"),
    "resampled": (resampled, "does not lie on"),
    "label 20": (with_values(with_label_20), r"ids \[20\]"),
    "float": (with_values(lambda a: a.astype(np.float32)), "float32"),
    "empty": (with_values(np.zeros_like), "empty"),
}
