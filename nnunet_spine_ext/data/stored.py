"""Read a published file of any format as one 3D image, and say what had to be done for it.

.nii .nii.gz      whole, finite, header repaired where it nearly makes sense (`nifti_headers`)
.nrrd .mha        as ITK reads them
.png .tif .tiff   one 2D picture; no place in space, pixel size not known to the file
.npy              one 2D array (rows, columns); likewise
a folder          one DICOM series
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_spine_ext.data.cases import Change, UnrepairableError
from nnunet_spine_ext.data.dicom import read_series
from nnunet_spine_ext.data.geometry import lifted, read_any, require_scalar_3d
from nnunet_spine_ext.data.integrity import defect
from nnunet_spine_ext.data.nifti_headers import NEARLY, quaternion_excess, straightened
from nnunet_spine_ext.data.repairs import repair_voxels
from nnunet_spine_ext.errors import DataError

NIFTI_ENDINGS = (".nii.gz", ".nii")
VOLUME_ENDINGS = (*NIFTI_ENDINGS, ".nrrd", ".mha")
PICTURE_ENDINGS = (".png", ".tif", ".tiff", ".npy")
"""Formats without a place in space."""
ENDINGS = (*VOLUME_ENDINGS, *PICTURE_ENDINGS)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a file holds, as a 3D image with one value per voxel."""

    image: sitk.Image
    dtype: str
    """Of the voxels in the file."""
    changes: tuple[Change, ...]
    flat: bool
    """The file holds a 2D image; here it is a single slice."""
    placed: bool
    """The file says where its voxels lie."""


def ending_of(path: Path) -> str:
    """Return the known ending of a file's name in lower case; empty if it has none of them."""
    return next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), "")


def read_stored(path: Path, *, file: str, repairs: Collection[str], pixel_mm: float | None = None) -> Stored:
    """Read an image or a label.

    Args:
        path: the file, or the folder of a DICOM series.
        file: `image` or `label`, for the record.
        repairs: names of the repairs that are switched on.
        pixel_mm: edge of a pixel of formats that do not say it; None for unknown, taken as 1 mm.

    Raises:
        DataError: it cannot be read whole, or is no image with one value per voxel.
    """
    image, changes = _read(path, file, repairs)
    dtype, channels = str(sitk.GetArrayViewFromImage(image).dtype), image.GetNumberOfComponentsPerPixel()
    try:
        image, merged = repair_voxels(image, repairs, of="any voxels", file=file)
    except UnrepairableError as error:
        raise error.about(path) from error
    flat, placed = image.GetDimension() == 2, ending_of(path) not in PICTURE_ENDINGS
    if not placed:
        changes += _set_pixel(image, file, pixel_mm) if file == "image" else ()
    return Stored(
        image=require_scalar_3d(lifted(image), path),
        dtype=dtype if channels == 1 else f"{dtype} x {channels}",
        changes=(*changes, *merged),
        flat=flat,
        placed=placed,
    )


def _read(path: Path, file: str, repairs: Collection[str]) -> tuple[sitk.Image, tuple[Change, ...]]:
    if path.is_dir() and not ending_of(path):
        return read_series(path), ()
    ending = ending_of(path)
    if ending == ".npy":
        return _read_array(path), ()
    if ending in NIFTI_ENDINGS:
        return _read_nifti(path, file, repairs)
    image = _read_named(path, ending)
    if ending in PICTURE_ENDINGS and image.GetDimension() != 2:
        raise DataError.of(path, f"holds {image.GetSize()[-1]} pages", "Save each page as a file, or all as NIfTI.")
    return image, ()


def _read_named(path: Path, ending: str) -> sitk.Image:
    """Read a file under a name that ITK knows: it refuses endings in capitals."""
    if not path.is_file() or path.name.endswith(ending):
        return read_any(path)
    with tempfile.TemporaryDirectory(prefix="reading") as folder:
        link = Path(folder) / f"file{ending}"
        link.symlink_to(path.resolve())
        try:
            return read_any(link)
        except DataError as error:
            (finding,) = error.findings
            raise DataError.of(path, finding.finding, finding.remedy) from error


def _read_array(path: Path) -> sitk.Image:
    try:
        array = np.load(path, allow_pickle=False)
        if array.ndim != 2:
            found = f"holds an array of {array.ndim} dimensions"
            raise DataError.of(path, found, "Only 2D arrays (rows, columns) can be used; save volumes as NIfTI.")
        return sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        remedy = "It is damaged or no plain array: get it again."
        raise DataError.of(path, f"cannot be read ({reason})", remedy) from error


def _read_nifti(path: Path, file: str, repairs: Collection[str]) -> tuple[sitk.Image, tuple[Change, ...]]:
    try:
        image, changes = _read_named(path, ending_of(path)), ()
    except DataError:
        repaired = _straighten(path, file) if "direction" in repairs else None
        if repaired is None:
            raise
        return repaired
    excess = quaternion_excess(path) if "quaternion" in repairs else None
    return image, changes if excess is None else (_quaternion_change(path, file, excess),)


def _straighten(path: Path, file: str) -> tuple[sitk.Image, tuple[Change, ...]] | None:
    """Return an image that ITK refused, with its axes straightened; None if that is not what is wrong with it."""
    if not path.is_file() or defect(path) is not None:
        return None
    try:
        found = straightened(path)
    except Exception:
        # Whatever a broken header makes nibabel raise: ITK's own message is the clearer one.
        return None
    if found is None:
        return None
    moved = f"cosines by at most {found.cosine_error:.2g}, voxels by {found.shift_mm:.2g} mm"
    what = f"axes turned to right angles: {moved}"
    why = "ITK and with it nnU-Net refuse axes that are not orthonormal; these are nearly so"
    return found.image, (Change(file=file, repair="direction", what=what, why=why),)


def _quaternion_change(path: Path, file: str, excess: float) -> Change:
    if excess > NEARLY:
        finding = f"its qform is no rotation (squared length of the quaternion is {1 + excess:.3g})"
        raise DataError.of(path, finding, "Correct the header, or leave this case out.")
    what = f"header written anew: the quaternion's squared length exceeded 1 by {excess:.2g}"
    return Change(file=file, repair="quaternion", what=what, why="nibabel refuses to read such a qform")


def _set_pixel(image: sitk.Image, file: str, pixel_mm: float | None) -> tuple[Change, ...]:
    """Set the pixel size of a picture, whatever its file says of the printed page."""
    image.SetSpacing([pixel_mm or 1.0] * image.GetDimension())
    image.SetOrigin([0.0] * image.GetDimension())
    what = f"pixels of {pixel_mm or 1.0:g} mm"
    why = "as given" if pixel_mm else "the file does not say: distances in mm are distances in pixels"
    return (Change(file=file, repair="pixel size", what=what, why=why),)
