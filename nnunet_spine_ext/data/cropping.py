"""Cutting a box out of an image, and putting a label map of that box back to where it came from, exactly.

The challenge's sagittal files carry a wide empty background on the left and right of the picture (array x = A-P);
paper 004 cuts it away (880 → 464 columns). `crops.json`, beside `dataset.json`, keeps for every case what was cut, with
the numbers of the original header, so that prediction and submission can undo it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from nnunet_spine_ext.data.files import write_json
from nnunet_spine_ext.data.geometry import Array, Grid, numbers, read_grid, read_image, voxels, write_image
from nnunet_spine_ext.errors import DataError, Finding

CROPS_FILE = "crops.json"
TOLERANCE_VOXELS = 0.01
"""How far a sub-box may lie from whole voxels: float32 headers are off by about 1e-4, a half-voxel shift by 0.5."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A box of whole voxels in the image of one case.

    Raises:
        ValueError: the box is empty or reaches out of `source`.
    """

    source: Grid
    """The grid of the whole image, with the very numbers of its header."""
    start_xyz: tuple[int, ...]
    size_xyz: tuple[int, ...]

    def __post_init__(self) -> None:
        fits = all(
            start >= 0 and size > 0 and start + size <= whole
            for start, size, whole in zip(self.start_xyz, self.size_xyz, self.source.size_xyz, strict=True)
        )
        if not fits:
            box = f"{self.size_xyz} voxels at {self.start_xyz}"
            raise ValueError(f"a box of {box} does not fit an image of {self.source.size_xyz} (x y z)")

    @property
    def grid(self) -> Grid:
        """The grid of the box: same place in the scanner's space, so its origin is that of its first voxel."""
        if not any(self.start_xyz):
            origin = self.source.origin_xyz_mm
        else:
            direction = np.reshape(self.source.direction, (3, 3))
            offset_mm = np.multiply(self.start_xyz, self.source.spacing_xyz_mm)
            origin = tuple(float(x) for x in self.source.origin_xyz_mm + direction @ offset_mm)
        return Grid(
            size_xyz=self.size_xyz,
            spacing_xyz_mm=self.source.spacing_xyz_mm,
            origin_xyz_mm=origin,
            direction=self.source.direction,
        )

    def apply(self, image: sitk.Image) -> sitk.Image:
        """Return the box of `image`, any voxel type.

        Raises:
            ValueError: `image` does not lie on `source`.
        """
        _require_same(Grid.of(image), self.source, what="the image to crop")
        return self.grid.place(voxels(image)[self._box_zyx])

    def undo(self, image: sitk.Image, *, fill: int = 0) -> sitk.Image:
        """Return `image`, a map of the box, on the whole grid; `fill` where the box is not.

        Size, spacing, origin and direction of the result are the numbers of `source`, bit for bit.

        Raises:
            ValueError: `image` does not lie on `grid`; a shifted or resampled map is never pasted.
        """
        _require_same(Grid.of(image), self.grid, what="the map to put back")
        box = voxels(image)
        whole = np.full(self.source.size_xyz[::-1], fill, dtype=box.dtype)
        whole[self._box_zyx] = box
        return self.source.place(whole)

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers; floats survive JSON exactly, because `json` writes their `repr`."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Crop:
        """Return the crop that `to_json` described.

        Raises:
            KeyError, TypeError, ValueError: the entry is not such a description.
        """
        return cls(
            source=Grid.from_json(entry["source"]),
            start_xyz=numbers(int, entry["start_xyz"]),
            size_xyz=numbers(int, entry["size_xyz"]),
        )

    @property
    def _box_zyx(self) -> tuple[slice, ...]:
        bounds = zip(self.start_xyz[::-1], self.size_xyz[::-1], strict=True)
        return tuple(slice(start, start + size) for start, size in bounds)


def crop_background(
    image: sitk.Image,
    *,
    axis_xyz: int = 0,
    multiple_of: int = 16,
    margin_mm: float = 2.0,
    empty_below: float = 0.02,
    stray_share: float = 0.001,
) -> Crop:
    """Return the crop that removes the empty background at both ends of one axis (paper 004, section 2.1).

    Paper 004 removes columns that are zero in all slices. Real scans carry noise and a few stray voxels, so here a
    column (the plane of all voxels with one index along the axis) is empty when no more than `stray_share` of its
    voxels exceed `empty_below` times the 99th percentile of the whole volume. Only unbroken runs of empty columns at
    the two ends go; `margin_mm` of them stays, and the kept width grows to a multiple of `multiple_of` if the image
    allows it. The errors of this rule are on the safe side: more noise means that less is cut, and nothing is cut
    when nothing is empty (or everything).

    Args:
        image: 3D scan, background near zero.
        axis_xyz: array axis to shorten, counted x y z; x is A-P in the challenge's sagittal files.
        multiple_of: the kept width becomes a multiple of this number of voxels.
        margin_mm: empty background to keep on either side.
        empty_below: share of the volume's robust maximum (99th percentile) up to which a voxel counts as empty.
        stray_share: share of a column's voxels that may exceed that and leave it empty.
    """
    source = Grid.of(image)
    whole = source.size_xyz[axis_xyz]
    start, stop = _occupied(voxels(image), axis=2 - axis_xyz, empty_below=empty_below, stray_share=stray_share)
    margin = int(np.ceil(margin_mm / source.spacing_xyz_mm[axis_xyz]))
    start, stop = _rounded_up(max(start - margin, 0), min(stop + margin, whole), whole=whole, multiple_of=multiple_of)
    starts, sizes = [0, 0, 0], list(source.size_xyz)
    starts[axis_xyz], sizes[axis_xyz] = start, stop - start
    return Crop(source=source, start_xyz=tuple(starts), size_xyz=tuple(sizes))


def crop_between(source: Grid, box: Grid) -> Crop:
    """Return the crop that leads from `source` to `box`, found from the two grids alone.

    Raises:
        ValueError: `box` is not made of whole voxels of `source`; says why.
    """
    same_shape = Grid(
        size_xyz=source.size_xyz,
        spacing_xyz_mm=box.spacing_xyz_mm,
        origin_xyz_mm=source.origin_xyz_mm,
        direction=box.direction,
    )
    _require_same(same_shape, source, what="the map")
    direction = np.reshape(source.direction, (3, 3))
    offset_mm = np.subtract(box.origin_xyz_mm, source.origin_xyz_mm)
    start = np.linalg.solve(direction, offset_mm) / source.spacing_xyz_mm
    if np.abs(start - np.round(start)).max() > TOLERANCE_VOXELS:
        raise ValueError(
            f"the map starts at voxel {np.round(start, 3).tolist()} (x y z) of the image, not at a whole voxel"
        )
    return Crop(source=source, start_xyz=tuple(int(x) for x in np.round(start)), size_xyz=box.size_xyz)


def read_crops(path: Path) -> dict[str, Crop]:
    """Read `crops.json`: case → crop.

    Raises:
        DataError: the file is absent or is not such a table.
    """
    try:
        return {case: Crop.from_json(entry) for case, entry in json.loads(path.read_text()).items()}
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError.of(path, f"is not a table of crops ({error})", "Convert the dataset again.") from error


def write_crops(crops: Mapping[str, Crop], path: Path) -> None:
    """Write `crops.json` (sorted by case, atomic)."""
    write_json({case: crops[case].to_json() for case in sorted(crops)}, path)


def restore_folder(folder: Path, crops: Mapping[str, Crop], *, file_ending: str = ".nii.gz") -> list[Path]:
    """Put the label maps of a prediction folder back onto their whole grids, in place; return those rewritten.

    A file that already lies on the whole grid is left as it is, so a second call changes nothing and a killed call can
    be repeated. Files of cases without a crop are left alone. Every header is checked before the first file is written.

    Raises:
        DataError: a map lies neither on its case's box nor on its whole grid.
    """
    cases = [case for case in sorted(crops) if (folder / f"{case}{file_ending}").is_file()]
    findings, cropped = [], []
    for case in cases:
        path, grid = folder / f"{case}{file_ending}", read_grid(folder / f"{case}{file_ending}")
        if not grid.differences(crops[case].source):
            continue
        differences = grid.differences(crops[case].grid)
        if differences:
            findings.append(_misplaced(path, differences))
        cropped.append((path, crops[case]))
    if findings:
        raise DataError(findings)
    for path, crop in cropped:
        write_image(crop.undo(read_image(path)), path)
    return [path for path, _ in cropped]


def _misplaced(path: Path, differences: list[str]) -> Finding:
    finding = f"lies neither on the cropped nor on the whole image of its case ({', '.join(differences)} of the crop)"
    return Finding(file=path, finding=finding, remedy="Predict again from the images of the converted dataset.")


def _require_same(found: Grid, expected: Grid, *, what: str) -> None:
    differences = found.differences(expected)
    if differences:
        raise ValueError(f"{what} has {', '.join(differences)}")


def _occupied(array: Array, *, axis: int, empty_below: float, stray_share: float) -> tuple[int, int]:
    """Return first and last + 1 index of the columns that are not empty; the whole axis if all or none are."""
    threshold = empty_below * float(np.percentile(array, 99))
    others = tuple(i for i in range(array.ndim) if i != axis)
    occupied = np.flatnonzero((array > threshold).mean(axis=others) > stray_share)
    return (int(occupied[0]), int(occupied[-1]) + 1) if occupied.size else (0, array.shape[axis])


def _rounded_up(start: int, stop: int, *, whole: int, multiple_of: int) -> tuple[int, int]:
    """Widen [start, stop) evenly to a multiple, inside [0, whole); to the whole if the multiple does not fit."""
    width = -(-(stop - start) // multiple_of) * multiple_of
    if width >= whole:
        return 0, whole
    first = min(max(start - (width - (stop - start)) // 2, 0), whole - width)
    return first, first + width
