"""The images that a submission must answer, and what is legal in an answer (MRSpineSeg challenge, CIGS 2021)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_spine_ext.data.cropping import CROPS_FILE, Crop, crop_between, read_crops
from nnunet_spine_ext.data.geometry import Grid, read_grid, voxels
from nnunet_spine_ext.data.labels import MRSPINESEG_STRUCTURES
from nnunet_spine_ext.errors import DataError, Finding

HIGHEST_ID = len(MRSPINESEG_STRUCTURES)
FILE_ENDING = ".nii.gz"
_CHALLENGE_NAME = re.compile(r"case(\d+)\.nii\.gz", re.IGNORECASE)
_NNUNET_NAME = re.compile(r"(.+)_0000\.nii\.gz")
_NUMBER_AT_THE_END = re.compile(r"(\d+)$")


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """One image of the test set."""

    file: Path
    grid: Grid
    """Of the image as the challenge published it."""
    crop: Crop | None
    """What the conversion cut out of it, where that is known."""


def nifti_files(folder: Path) -> list[Path]:
    """Return the files of a folder that end in `FILE_ENDING`, hidden ones left out."""
    return sorted(p for p in folder.glob(f"*{FILE_ENDING}") if not p.name.startswith("."))


def case_number(case: str) -> int | None:
    """Return the challenge's number of a case id (`Case002` → 2), None if it does not end in one."""
    found = _NUMBER_AT_THE_END.search(case)
    return int(found[1]) if found else None


def read_source(folder: Path) -> dict[int, SourceImage]:
    """Return the images of a test set by case number.

    Args:
        folder: the challenge's own folder (`test1` or `test1/MR`, holding CaseN.nii.gz), or that of an nnU-Net raw
            dataset (the dataset or its `imagesTs`, holding CASE_0000.nii.gz); if images were cropped, their original
            grids come from the dataset's crops.json.

    Raises:
        DataError: there is no such image, or two have the same number, or one has no readable header.
    """
    inner = next((folder / name for name in ("MR", "imagesTs") if (folder / name).is_dir()), folder)
    images: dict[int, SourceImage] = {}
    findings = []
    crops = read_crops(inner.parent / CROPS_FILE) if (inner.parent / CROPS_FILE).is_file() else {}
    for number, case, file in _numbered(nifti_files(inner)):
        if number in images:
            remedy = "Name one folder that holds each test image once."
            findings.append(Finding(file=file, finding=f"case {number} is also {images[number].file}", remedy=remedy))
            continue
        crop = crops.get(case)
        images[number] = SourceImage(file=file, grid=crop.source if crop else read_grid(file), crop=crop)
    if not images:
        remedy = "Name the challenge's test folder (CaseN.nii.gz) or an imagesTs folder (CASE_0000.nii.gz)."
        findings.append(Finding(file=inner, finding="holds no test image", remedy=remedy))
    if findings:
        raise DataError(findings)
    return images


def _numbered(files: list[Path]) -> Iterator[tuple[int, str, Path]]:
    """Yield number, case id and file of everything that is named like a test image."""
    for file in files:
        challenge, nnunet = _CHALLENGE_NAME.fullmatch(file.name), _NNUNET_NAME.fullmatch(file.name)
        number = int(challenge[1]) if challenge else case_number(nnunet[1]) if nnunet else None
        if number is not None:
            yield number, nnunet[1] if nnunet else file.name.removesuffix(FILE_ENDING), file


def place_on_source(labels: sitk.Image, source: SourceImage) -> sitk.Image:
    """Return a label map on the grid of the published image, with the numbers of its header.

    A map that lies there already is only given that header; a map of a cropped image is put back by the known crop, or
    else by geometry: it must be made of whole voxels of the image.

    Raises:
        ValueError: it lies elsewhere (shifted, resampled, of another case).
    """
    found = Grid.of(labels)
    if not found.differences(source.grid):
        return source.grid.place(voxels(labels))
    if found.size_xyz == source.grid.size_xyz:
        raise ValueError(", ".join(found.differences(source.grid)))
    return (source.crop or crop_between(source.grid, found)).undo(labels)


def label_findings(labels: sitk.Image, file: Path) -> list[Finding]:
    """Return what is wrong with the voxels of a label map: type, ids, emptiness."""
    array = voxels(labels)
    if not np.issubdtype(array.dtype, np.integer):
        remedy = "A label map holds whole numbers: write it as uint8."
        return [Finding(file=file, finding=f"holds {array.dtype} numbers", remedy=remedy)]
    present = np.unique(array)
    illegal = [int(i) for i in present if not 0 <= i <= HIGHEST_ID]
    if illegal:
        finding = f"holds the ids {illegal[:5]}{' …' if len(illegal) > 5 else ''}"
        remedy = f"Legal are 0 to {HIGHEST_ID}: predict with a dataset of label scheme `all`."
        return [Finding(file=file, finding=finding, remedy=remedy)]
    if not present.any():
        return [Finding(file=file, finding="is empty: background only", remedy="Every test image shows a spine.")]
    return []
