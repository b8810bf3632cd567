"""A folder of DICOM files → one image. ITK only warns of missing slices and tilted stacks; here they are refused.

Nothing of a DICOM header but the geometry survives: what is written is NIfTI, without names, dates or numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_spine_ext.data.geometry import Grid, unreadable
from nnunet_spine_ext.errors import DataError

DICOM_ENDINGS = (".dcm", ".ima")
_EVEN = 0.01
"""How much the distance of two neighbouring slices, or their drift sideways, may differ, as a share of the distance."""


@dataclass(frozen=True, kw_only=True)
class _Slice:
    file: Path
    grid: Grid


def holds_dicom(folder: Path) -> bool:
    """Tell whether a folder holds DICOM files, by their endings or by the letters DICM in files without ending."""
    return any(p.is_file() and not p.name.startswith(".") and _is_dicom(p) for p in folder.iterdir())


def read_series(folder: Path) -> sitk.Image:
    """Read the one series in a folder; slices are put in order by their positions.

    Raises:
        DataError: several series, slices missing, twice, tilted or of different kinds, or a file that cannot be read.
    """
    slices = [_slice(file) for file in _files_of_the_series(folder)]
    if len(slices) == 1:
        return _read([slices[0].file], folder)
    _require_alike(slices, folder)
    distance_mm = _even_distance_mm(slices, folder)
    image = _read([s.file for s in slices], folder)
    image.SetSpacing((*slices[0].grid.spacing_xyz_mm[:2], distance_mm))
    return image


def _is_dicom(path: Path) -> bool:
    if path.name.lower().endswith(DICOM_ENDINGS):
        return True
    if "." in path.name and not path.name.replace(".", "").isdecimal():
        return False
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _files_of_the_series(folder: Path) -> list[Path]:
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise DataError.of(folder, "holds no DICOM series that can be read", "Export it again, or leave it out.")
    if len(series) > 1:
        remedy = "Put each series into a folder of its own."
        raise DataError.of(folder, f"holds {len(series)} DICOM series ({', '.join(series)})", remedy)
    return [Path(file) for file in sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0])]


def _slice(file: Path) -> _Slice:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable(file, str(error)) from error
    grid = Grid(
        size_xyz=reader.GetSize(),
        spacing_xyz_mm=reader.GetSpacing(),
        origin_xyz_mm=reader.GetOrigin(),
        direction=reader.GetDirection(),
    )
    return _Slice(file=file, grid=grid)


def _require_alike(slices: list[_Slice], folder: Path) -> None:
    first = slices[0].grid
    for other in slices[1:]:
        moved = Grid(
            size_xyz=other.grid.size_xyz,
            spacing_xyz_mm=(*other.grid.spacing_xyz_mm[:2], first.spacing_xyz_mm[2]),
            origin_xyz_mm=first.origin_xyz_mm,
            direction=other.grid.direction,
        )
        differences = moved.differences(first)
        if differences:
            finding = f"mixes slices: {other.file.name} has {', '.join(differences)} of {slices[0].file.name}"
            raise DataError.of(folder, finding, "Put each series into a folder of its own.")


def _even_distance_mm(slices: list[_Slice], folder: Path) -> float:
    """Return the distance of neighbouring slices.

    Raises:
        DataError: it is not the same everywhere, or the stack is tilted.
    """
    normal = np.reshape(slices[0].grid.direction, (3, 3))[:, 2]
    steps = np.diff([s.grid.origin_xyz_mm for s in slices], axis=0)
    along = steps @ normal
    usual = float(np.median(along))
    uneven = np.flatnonzero(np.abs(along - usual) > _EVEN * abs(usual))
    if abs(usual) < 1e-6 or uneven.size:
        at = int(uneven[0]) if uneven.size else 0
        finding = (
            f"has slices at uneven distances: {along[at]:.3f} mm from {slices[at].file.name} to "
            f"{slices[at + 1].file.name}, {usual:.3f} mm elsewhere"
        )
        raise DataError.of(folder, finding, "A slice is missing or there twice: export the series again.")
    sideways = np.linalg.norm(steps - np.outer(along, normal), axis=1)
    if (sideways > _EVEN * abs(usual)).any():
        finding = f"is a tilted stack: its slices are displaced by up to {sideways.max():.3f} mm against one another"
        raise DataError.of(folder, finding, "Resample it to right-angled voxels (gantry tilt correction) first.")
    return abs(float(along.mean()))


def _read(files: list[Path], folder: Path) -> sitk.Image:
    try:
        return sitk.ReadImage([str(file) for file in files])
    except RuntimeError as error:
        raise unreadable(folder, str(error)) from error
