"""Puts label maps of prepared images (`new_images`) back onto the axes of the originals; no voxel changes its place.

`prepared.json`, in the folder of the prepared images, keeps the grid that each of them was turned from.
"""

from __future__ import annotations

import json
from pathlib import Path

import SimpleITK as sitk

from nnunet_spine_ext.data.geometry import Grid, read_grid, read_image, voxels, write_image
from nnunet_spine_ext.data.headers import orientation
from nnunet_spine_ext.errors import DataError, Finding

RECORD_FILE = "prepared.json"
TURNED_FROM = "turned_from"
"""Key of an image in the record: the grid of the original, if its axes were turned."""

_FIRST_CHANNEL = "_0000"


def turned_grids(record: Path, *, file_ending: str) -> dict[str, Grid]:
    """Return case → grid of the original image, of the cases whose axes were turned.

    Raises:
        DataError: the file is no record of prepared images.
    """
    ending = f"{_FIRST_CHANNEL}{file_ending}"
    try:
        files = json.loads(record.read_text(encoding="utf-8"))["files"].items()
        turned = {name: entry[TURNED_FROM] for name, entry in files if TURNED_FROM in entry}
        return {n.removesuffix(ending): Grid.from_json(grid) for n, grid in turned.items() if n.endswith(ending)}
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError.of(record, f"is no record of prepared images ({error})", "Prepare the images again.") from error


def turn_back_folder(folder: Path, originals: dict[str, Grid], *, file_ending: str = ".nii.gz") -> list[Path]:
    """Turn the label maps of a prediction folder onto the grids of the originals, in place; return those rewritten.

    A map that lies there already is left as it is, so a killed call can be repeated. Every header is checked before the
    first file is written.

    Raises:
        DataError: a map lies neither on its prepared image nor on the original.
    """
    paths = {folder / f"{case}{file_ending}": grid for case, grid in sorted(originals.items())}
    to_turn = {path: grid for path, grid in paths.items() if path.is_file() and read_grid(path).differences(grid)}
    findings = [
        Finding(
            file=path,
            finding=f"does not lie on the prepared image of its case ({', '.join(differences)} after turning)",
            remedy="Predict again from the prepared images.",
        )
        for path, grid in to_turn.items()
        if (differences := _turned(read_grid(path), orientation(grid)).differences(grid))
    ]
    if findings:
        raise DataError(findings)
    for path, grid in to_turn.items():
        image = sitk.DICOMOrient(read_image(path), orientation(grid))
        # With the very numbers of the original's header.
        write_image(grid.place(voxels(image)), path)
    return list(to_turn)


def _turned(grid: Grid, towards: str) -> Grid:
    """Return a grid after its axes were turned; computed by ITK on voxels that take no memory of note."""
    empty = sitk.Image(list(grid.size_xyz), sitk.sitkUInt8)
    empty.SetSpacing(grid.spacing_xyz_mm)
    empty.SetOrigin(grid.origin_xyz_mm)
    empty.SetDirection(grid.direction)
    return Grid.of(sitk.DICOMOrient(empty, towards))
