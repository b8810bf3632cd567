"""Fake SPIDER: the published names and folders, .mha with int16 masks, headers as a scanner writes sagittal series.

Ids from below: vertebrae 1, 2, 3 …, the uppermost only partly in view (100 + n), discs 200 + n, canal 100.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

SIZE = (24, 40, 5)
"""x y z: front to back, top to bottom, right to left."""
SPACING = (0.625, 0.625, 3.3)
PIR_DIRECTION = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
"""Columns of the matrix: x runs to posterior, y to inferior, z to the right (LPS)."""
VERTEBRAE = 3
SERIES = ("1_t1", "1_t2", "2_t1", "2_t2", "3_t2_SPACE", "3_t2", "5_t2")
SUBSETS = {"1": "training", "2": "validation", "3": "training", "5": "training"}


def mask(vertebrae: int = VERTEBRAE) -> NDArray[np.int16]:
    """Return ids in z y x order; row 39 is the lowest."""
    voxels = np.zeros(SIZE[::-1], dtype=np.int16)
    for n in range(1, vertebrae + 1):
        bottom = 38 - 8 * (n - 1)
        voxels[1:4, bottom - 2 : bottom, 4:12] = 200 + n
        voxels[1:4, bottom - 8 : bottom - 2, 4:12] = n
    voxels[1:4, 0:6, 4:12] = 100 + vertebrae + 1
    voxels[2, :, 15:18] = 100
    return voxels


def picture(number: int) -> NDArray[np.int16]:
    return np.random.default_rng(number).integers(0, 900, SIZE[::-1]).astype(np.int16)


def save(voxels: NDArray[np.generic], path: Path, direction: tuple[float, ...] = PIR_DIRECTION) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(SPACING)
    image.SetOrigin((20.0, -60.0, 40.0))
    image.SetDirection(direction)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def write_overview(root: Path, series: Collection[str] = SERIES, subsets: Mapping[str, str] = SUBSETS) -> Path:
    with (root / "overview.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["new_file_name", "num_vertebrae", "num_discs", "sex", "birth_date", "subset", "AngioFlag"])
        writer.writerows([name, 7, 7, "F ", "", subsets[name.split("_")[0]], ""] for name in series)
    return root / "overview.csv"


def write(root: Path, series: Collection[str] = SERIES, *, overview: bool = True) -> Path:
    for position, name in enumerate(series):
        save(picture(position), root / f"images/{name}.mha")
        save(mask(), root / f"masks/{name}.mha")
    if overview:
        write_overview(root, series)
    return root
