"""Everything that a conversion may repair: one table, one small function each, one record for each use.

A dataset switches on by name what it needs (`Dataset.repairs`); what happened to which file goes into the log. Never
repaired, because nobody can know what was meant: another shape, ids that nobody defined, a label from another frame
than its image, NaN, colours, a label of values between integers.

The work of a repair lies in its `step` where it concerns voxels; repairs of names are made in `dataset_conversion`,
those of headers in `stored` (while reading) and `case_reading` (label against image).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk

from nnunet_spine_ext.data.cases import Change, Step, UnrepairableError
from nnunet_spine_ext.data.geometry import Array, voxels

LABEL_TOLERANCE = 1e-3
"""How far a stored label value may lie from an integer and still be read as that integer."""

Kind = Literal["name", "header", "image", "label", "any voxels"]


@dataclass(frozen=True, kw_only=True)
class Repair:
    """One thing that may be put right."""

    name: str
    of: Kind
    finds: str
    does: str
    step: Step | None = None
    """What it does to voxels; None for names and headers."""


def equal_channels(image: sitk.Image) -> tuple[sitk.Image, tuple[str, str] | None]:
    """Grey values stored as RGB or RGBA → one channel, if red, green and blue are equal everywhere."""
    channels = image.GetNumberOfComponentsPerPixel()
    if channels not in (3, 4):
        return image, None
    array = sitk.GetArrayViewFromImage(image)
    if (array[..., 0] != array[..., 1]).any() or (array[..., 0] != array[..., 2]).any():
        finding = "holds colours: red, green and blue differ"
        raise UnrepairableError(finding, "Save it with one value per pixel (a grey image, or label ids).")
    if channels == 4 and array[..., 3].min() != array[..., 3].max():
        raise UnrepairableError("is transparent in places", "Save it without an alpha channel.")
    red = sitk.VectorIndexSelectionCast(image, 0)
    return red, (f"one of {channels} channels", "red, green and blue are equal: one value was stored thrice")


def wrapped_16_bit(image: sitk.Image) -> tuple[sitk.Image, tuple[str, str] | None]:
    """Signed 16-bit numbers stored as unsigned ones: 65536 is taken off those above 32767."""
    if image.GetPixelID() != sitk.sitkUInt16:
        return image, None
    array = voxels(image)
    wrapped = int(np.count_nonzero(array > 32767))
    if not wrapped:
        return image, None
    what = f"{wrapped} values above 32767 read as negative (less 65536)"
    return _with(image, array.view(np.int16)), (what, "negative numbers had been stored as unsigned ones")


def float64_image(image: sitk.Image) -> tuple[sitk.Image, tuple[str, str] | None]:
    """Double precision → single."""
    if image.GetPixelID() != sitk.sitkFloat64:
        return image, None
    return sitk.Cast(image, sitk.sitkFloat32), ("stored as float32", "nnU-Net reads images as float32")


def whole_numbers(image: sitk.Image) -> tuple[sitk.Image, tuple[str, str] | None]:
    """Labels as floating-point numbers → integers, if every value is one but for rounding."""
    array = voxels(image)
    if array.dtype.kind != "f":
        return image, None
    refuse_not_finite(array)
    off = np.abs(array - np.rint(array))
    wrong = off > LABEL_TOLERANCE
    if wrong.any():
        example, count = array[wrong].flat[0], int(np.count_nonzero(wrong))
        remedy = "The mask was interpolated: export it again with nearest neighbour."
        raise UnrepairableError(f"holds label {example:g} ({count} voxels are no whole numbers)", remedy)
    largest = float(off.max())
    what = f"{array.dtype} read as integers" + (f", rounded by at most {largest:.1g}" if largest else "")
    why = f"labels are integers; a value within {LABEL_TOLERANCE:g} of one is taken for it"
    return _with(image, np.rint(array).astype(np.int64)), (what, why)


def mask_of_255(image: sitk.Image) -> tuple[sitk.Image, tuple[str, str] | None]:
    """Black and white, 0 and 255 → 0 and 1."""
    array = voxels(image)
    full = array == 255
    if not full.any() or (array[~full] != 0).any():
        return image, None
    why = "a mask in black and white; nnU-Net wants consecutive ids"
    return _with(image, full.astype(np.uint8)), ("255 read as 1", why)


def require_hounsfield(image: sitk.Image) -> tuple[sitk.Image, None]:
    """Pass CT images on; refuse copies for the screen, whose Hounsfield units are gone. Not a repair, but a `Step`."""
    array = sitk.GetArrayViewFromImage(image)
    if array.dtype == np.uint8 or (array.min() >= 0 and array.max() <= 255):
        finding = f"holds {array.dtype} values {array.min()}..{array.max()}: a copy for the screen, no Hounsfield units"
        raise UnrepairableError(finding, "Get the original CT; CT normalisation needs Hounsfield units.")
    return image, None


def refuse_not_finite(array: Array) -> None:
    """Refuse NaN and infinity.

    Raises:
        UnrepairableError: the array holds one.
    """
    strange = int(np.count_nonzero(~np.isfinite(array))) if array.dtype.kind == "f" else 0
    if strange:
        remedy = "Replace them with values that make sense, or leave the case out."
        raise UnrepairableError(f"holds {strange} voxels that are NaN or infinite", remedy)


REPAIRS: dict[str, Repair] = {
    repair.name: repair
    for repair in (
        Repair(
            name="letter case",
            of="name",
            finds="a file whose name has capitals where the published one has not, or the other way round",
            does="takes it for the published one",
        ),
        Repair(
            name="direction",
            of="header",
            finds="axes at nearly right angles (cosines off by at most 0.01), which ITK refuses to read",
            does="turns them to the nearest right-angled ones; the middle of the image stays where it was",
        ),
        Repair(
            name="quaternion",
            of="header",
            finds="a qform whose quaternion is too long by rounding, which nibabel refuses to read",
            does="writes the header anew",
        ),
        Repair(
            name="header noise",
            of="header",
            finds="a label that lies less than a quarter of a voxel beside its image, by their headers",
            does="gives the label its image's header",
        ),
        Repair(
            name="equal channels",
            of="any voxels",
            finds="RGB in which the three channels are equal",
            does="keeps one of them",
            step=equal_channels,
        ),
        Repair(
            name="wrap-around",
            of="image",
            finds="unsigned 16-bit values above 32767 where signed ones are meant",
            does="takes 65536 off",
            step=wrapped_16_bit,
        ),
        Repair(
            name="float64 image",
            of="image",
            finds="an image in double precision",
            does="stores it in single precision, as nnU-Net reads it",
            step=float64_image,
        ),
        Repair(
            name="float labels",
            of="label",
            finds=f"labels as floating-point numbers within {LABEL_TOLERANCE:g} of an integer",
            does="rounds them",
            step=whole_numbers,
        ),
        Repair(
            name="255 mask",
            of="label",
            finds="a mask of 0 and 255 only",
            does="makes it 0 and 1",
            step=mask_of_255,
        ),
    )
}
STANDARD: tuple[str, ...] = (
    "letter case", "direction", "quaternion", "header noise", "float64 image", "float labels",
)  # fmt: skip
"""What is on for every dataset."""


def repair_voxels(
    image: sitk.Image, repairs: Collection[str], *, of: Kind, file: str
) -> tuple[sitk.Image, tuple[Change, ...]]:
    """Make those of the chosen repairs that concern such voxels, in the order of the table.

    Raises:
        UnrepairableError: the image cannot be used.
    """
    chosen = [r for r in REPAIRS.values() if r.name in repairs and r.of == of]
    return apply_steps(image, [(r.name, r.step) for r in chosen if r.step is not None], file=file)


def apply_steps(
    image: sitk.Image, steps: Sequence[tuple[str, Step]], *, file: str
) -> tuple[sitk.Image, tuple[Change, ...]]:
    """Do one step after the other; return what came of it and what each of them changed."""
    changes = []
    for name, step in steps:
        image, change = step(image)
        if change is not None:
            changes.append(Change(file=file, repair=name, what=change[0], why=change[1]))
    return image, tuple(changes)


def _with(image: sitk.Image, array: Array) -> sitk.Image:
    """Return other voxels on the same grid."""
    other = sitk.GetImageFromArray(array)
    other.CopyInformation(image)
    return other
