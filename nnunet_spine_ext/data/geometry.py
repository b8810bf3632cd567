"""The grid of an image (size, spacing, origin, direction), and reading and writing images on it.

SimpleITK's tuples are in x y z order, numpy arrays and nnU-Net's plans in z y x order; every name here says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_spine_ext.data.files import free_bytes, in_words, whole_file
from nnunet_spine_ext.data.integrity import defect
from nnunet_spine_ext.errors import DataError

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where the voxels of a 3D image lie in the scanner's space."""

    size_xyz: tuple[int, ...]
    spacing_xyz_mm: tuple[float, ...]
    origin_xyz_mm: tuple[float, ...]
    direction: tuple[float, ...]
    """Row-major 3x3 matrix: column j is the direction of array axis j (x, y, z order)."""

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """Return the grid of `image`."""
        return cls(
            size_xyz=image.GetSize(),
            spacing_xyz_mm=image.GetSpacing(),
            origin_xyz_mm=image.GetOrigin(),
            direction=image.GetDirection(),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers; floats survive JSON exactly, because `json` writes their `repr`."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Grid:
        """Return the grid that `to_json` described.

        Raises:
            KeyError, TypeError, ValueError: the entry is not such a description.
        """
        return cls(
            size_xyz=numbers(int, entry["size_xyz"]),
            spacing_xyz_mm=numbers(float, entry["spacing_xyz_mm"]),
            origin_xyz_mm=numbers(float, entry["origin_xyz_mm"]),
            direction=numbers(float, entry["direction"], count=9),
        )

    @property
    def spacing_zyx_mm(self) -> tuple[float, ...]:
        """Voxel size in mm in array order."""
        return self.spacing_xyz_mm[::-1]

    def differences(self, other: Grid, *, tolerance_mm: float = 1e-3, tolerance_direction: float = 1e-3) -> list[str]:
        """Return in words what differs between two grids; empty when they agree.

        `tolerance_mm` holds for spacing and origin, `tolerance_direction` for the cosines. Sizes must be equal.
        """
        found = []
        if self.size_xyz != other.size_xyz:
            found.append(f"size {self.size_xyz} instead of {other.size_xyz}")
        for name, ours, theirs, tolerance in (
            ("spacing", self.spacing_xyz_mm, other.spacing_xyz_mm, tolerance_mm),
            ("origin", self.origin_xyz_mm, other.origin_xyz_mm, tolerance_mm),
            ("direction", self.direction, other.direction, tolerance_direction),
        ):
            if len(ours) != len(theirs) or not np.allclose(ours, theirs, rtol=0, atol=tolerance):
                found.append(f"{name} {_rounded(ours)} instead of {_rounded(theirs)}")
        return found

    def place(self, array_zyx: Array) -> sitk.Image:
        """Return `array_zyx` as an image on this grid.

        Raises:
            ValueError: the array's shape is not this grid's size.
        """
        if array_zyx.shape[::-1] != tuple(self.size_xyz):
            raise ValueError(f"array of shape {array_zyx.shape} (z y x) does not fit a grid of {self.size_xyz} (x y z)")
        image = sitk.GetImageFromArray(array_zyx)
        image.SetSpacing(self.spacing_xyz_mm)
        image.SetOrigin(self.origin_xyz_mm)
        image.SetDirection(self.direction)
        return image


def read_image(path: Path) -> sitk.Image:
    """Read a 3D image; a 2D one comes as a single slice (`lifted`).

    Raises:
        DataError: the file is absent, cut off, or not a 3D scalar image.
    """
    return require_scalar_3d(lifted(read_any(path)), path)


def read_any(path: Path) -> sitk.Image:
    """Read an image of any dimension and any number of values per voxel.

    Raises:
        DataError: the file is absent, cut off, or no image that ITK knows.
    """
    if not path.is_file():
        raise DataError.of(path, "no such file", "Check the folder, or download the dataset again.")
    wrong = defect(path)
    if wrong is not None:
        raise DataError.of(path, *wrong)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise unreadable(path, str(error)) from error


def require_scalar_3d(image: sitk.Image, path: Path) -> sitk.Image:
    """Return `image`, read from `path`, if it is 3D with one value per voxel.

    Raises:
        DataError: it is not.
    """
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        found = f"{image.GetDimension()}D with {image.GetNumberOfComponentsPerPixel()} components, expected 3D scalar"
        raise DataError.of(path, found, "Only 3D images with one value per voxel can be used here.")
    return image


def read_grid(path: Path) -> Grid:
    """Read only the header of a 3D image (no voxels).

    Raises:
        DataError: the file is absent or has no readable header.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise DataError.of(path, "has no readable header", "The file is absent or damaged: get it again.") from error
    size, spacing, origin, direction = (
        reader.GetSize(),
        reader.GetSpacing(),
        reader.GetOrigin(),
        reader.GetDirection(),
    )
    if len(size) == 2:
        size, spacing, origin, direction = (*size, 1), (*spacing, 1.0), (*origin, 0.0), _lifted_direction(direction)
    return Grid(size_xyz=size, spacing_xyz_mm=spacing, origin_xyz_mm=origin, direction=direction)


def lifted(image: sitk.Image) -> sitk.Image:
    """Return a 2D image as a 3D one of a single slice, 1 mm thick; any other as it is."""
    if image.GetDimension() != 2:
        return image
    volume = sitk.JoinSeries(image)
    volume.SetSpacing((*image.GetSpacing(), 1.0))
    volume.SetDirection(_lifted_direction(image.GetDirection()))
    return volume


def flattened(image: sitk.Image) -> sitk.Image:
    """Return the single slice of a 3D image that `lifted` made, as the 2D image that it was.

    Raises:
        ValueError: it has more slices than one.
    """
    if image.GetSize()[2] != 1:
        raise ValueError(f"an image of {image.GetSize()} voxels (x y z) is no single slice")
    flat = image[:, :, 0]
    flat.SetSpacing(image.GetSpacing()[:2])
    flat.SetOrigin(image.GetOrigin()[:2])
    across = np.reshape(image.GetDirection(), (3, 3))[:2, :2]
    flat.SetDirection([float(x) for x in across.ravel()])
    return flat


def _lifted_direction(direction: tuple[float, ...]) -> tuple[float, ...]:
    a, b, c, d = direction
    return (a, b, 0.0, c, d, 0.0, 0.0, 0.0, 1.0)


def voxels(image: sitk.Image) -> Array:
    """Return a copy of the voxels in z y x order."""
    return sitk.GetArrayFromImage(image)  # type: ignore[no-any-return]


def write_image(image: sitk.Image, path: Path) -> None:
    """Write `image` compressed; a kill leaves either the old file or the new one, never half of it.

    Raises:
        DataError: the folder is absent or read-only, or the disk is full (ITK itself does not notice a full disk).
    """
    with whole_file(path) as partial:
        _write_whole(image, partial, path)


def _write_whole(image: sitk.Image, partial: Path, path: Path) -> None:
    try:
        sitk.WriteImage(image, str(partial), useCompression=True)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        remedy = "Check that its folder exists and that you may write to it."
        raise DataError.of(path, f"cannot be written ({reason})", remedy) from error
    if defect(partial) is not None:
        found = f"cannot be written whole, {in_words(free_bytes(path))} are free on its disk"
        raise DataError.of(path, found, "Free some space on that disk and run the command again.")


def numbers(kind: type[Any], values: Any, *, count: int = 3) -> tuple[Any, ...]:  # noqa: ANN401 - parsed JSON
    """Return `count` numbers of one kind.

    Raises:
        TypeError, ValueError: there are not so many, or they are no numbers.
    """
    if len(values) != count:
        raise ValueError(f"expected {count} numbers, got {values}")
    return tuple(kind(value) for value in values)


def unreadable(path: Path, message: str) -> DataError:
    """Return the error for a file that ITK refuses."""
    if "orthonormal" in message:
        finding = "its header's axes are not at right angles (ITK refuses such a direction matrix)"
        return DataError.of(path, finding, "Correct the header's sform or qform, or leave this case out.")
    if "No such file or directory" in message and path.exists():
        # What ITK says of a header that ends too early: the system's last error, whatever that was about.
        return DataError.of(path, "cannot be read: it is cut off, or its header is damaged", "Get it again.")
    reason = message.strip().splitlines()[-1].replace(f'"{path}"', "this file")
    return DataError.of(path, f"cannot be read ({reason})", "It is damaged or no image file: get it again.")


def _rounded(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(float(v), 5) for v in values)
