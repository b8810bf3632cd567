"""Files as users have them: flat folders of volumes or pictures, label tables, DICOM series. No dataset's names."""

from __future__ import annotations

import locale
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

SIZE = (30, 24, 5)
"""x y z."""
SPACING = (0.5, 0.5, 4.0)
DIRECTION = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
NAMES = {"sacrum": 1, "L5": 4, "L4": 7}
"""The ids are not consecutive."""


def picture(number: int, size: tuple[int, ...] = SIZE) -> NDArray[np.int16]:
    """Voxels in z y x order."""
    return np.random.default_rng(number).integers(0, 900, size[::-1]).astype(np.int16)


def mask(size: tuple[int, ...] = SIZE, ids: Collection[int] = tuple(NAMES.values())) -> NDArray[np.uint8]:
    """One block of rows per structure, voxels in z y x order."""
    voxels = np.zeros(size[::-1], dtype=np.uint8)
    for position, i in enumerate(ids):
        voxels[..., 6 * position + 2 : 6 * position + 6, 5:20] = i
    return voxels


def save(array: NDArray[np.generic], path: Path, *, vector: bool = False) -> Path:
    """Write an array (z y x) in the format of the file's name, placed in space if it has three axes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array, isVector=vector)
    if image.GetDimension() == 3:
        image.SetSpacing(SPACING)
        image.SetDirection(DIRECTION)
        image.SetOrigin((10.0, -20.0, 30.0))
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def write_table(path: Path, names: Mapping[str, int] = NAMES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("id,name\n" + "".join(f"{i},{name}\n" for name, i in names.items()))
    return path


def write(root: Path, numbers: Collection[int], *, ending: str = ".nii.gz") -> Path:
    """Write images/scan_05_T2 and labels/scan_05_seg and names.csv."""
    for number in numbers:
        save(picture(number), root / f"images/scan_{number:02d}_T2{ending}")
        save(mask(), root / f"labels/scan_{number:02d}_seg{ending}")
    write_table(root / "names.csv")
    return root


def write_pictures(root: Path, numbers: Collection[int], *, ending: str = ".png") -> Path:
    """Write one slice per file."""
    for number in numbers:
        save((picture(number)[0] % 256).astype(np.uint8), root / f"images/{number}{ending}")
        save(mask()[0], root / f"labels/{number}{ending}")
    write_table(root / "names.csv")
    return root


def write_series(
    folder: Path,
    positions_mm: Collection[float] = (0.0, 2.5, 5.0, 7.5),
    *,
    series: str = "1.2.826.0.1.3680043.2.1125.1",
    sideways_mm: float = 0.0,
    ending: str = ".dcm",
) -> NDArray[np.int16]:
    """Write an axial CT series, one file per position, in no order of names; return its voxels z y x."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    before = locale.setlocale(locale.LC_ALL)  # writing DICOM sets it to C
    volume = np.random.default_rng(0).integers(-1000, 1500, (len(positions_mm), 12, 16)).astype(np.int16)
    for i, position in enumerate(positions_mm):
        image = sitk.GetImageFromArray(volume[i])
        image.SetSpacing((0.7, 0.7))
        for tag, value in {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{series}.{i + 1}",
            "0008|0060": "CT",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.0",
            "0020|000e": series,
            "0020|0013": str(i + 1),
            "0020|0032": f"{-50.0 + i * sideways_mm}\\-60.0\\{position}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0018|0050": "2.5",
            "0010|0010": "Secret^Name",
        }.items():
            image.SetMetaData(tag, value)
        file = folder / f"slice{(7 * i + 3) % 11}{ending}"
        writer.SetFileName(str(file if ending == ".dcm" else file.with_suffix(".dcm")))
        writer.Execute(image)
        if ending != ".dcm":
            file.with_suffix(".dcm").rename(file)
    locale.setlocale(locale.LC_ALL, before)
    return volume
