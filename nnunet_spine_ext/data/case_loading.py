"""Files of a case → voxels as they are to be written, or an error. Both passes of a conversion load through here.

Repaired, with a record: float labels within 1e-3 of an integer, float64 images.
Refused: what cannot be read whole, NaN, constant images, labels that are no whole numbers, ids that nobody defined.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_spine_ext.data.cases import CaseRules, Change, Step
from nnunet_spine_ext.data.geometry import Array, Grid, read_image, voxels
from nnunet_spine_ext.errors import DataError

LABEL_TOLERANCE = 1e-3
"""How far a stored label value may lie from an integer and still be read as that integer."""


@dataclass(frozen=True, kw_only=True)
class LoadedImage:
    """An image as it is to be written, before any crop."""

    image: sitk.Image
    array: Array
    """Its voxels, z y x."""
    dtype: str
    """As it was stored."""
    changes: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True)
class LoadedLabel:
    """A label map in the publisher's ids, every one of them legal."""

    ids: Array
    """Integers, z y x."""
    grid: Grid
    dtype: str
    changes: tuple[Change, ...]


def load_image(path: Path, rules: CaseRules) -> LoadedImage:
    """Read an image and apply the dataset's steps.

    Raises:
        DataError: it cannot be read whole, holds NaN, infinity or complex numbers, or is constant.
    """
    stored = read_image(path)
    image, changes = _stepped(stored, "image", (*rules.image_steps, _as_float32))
    array = voxels(image)
    if array.dtype.kind not in "iuf":
        raise DataError.of(path, f"holds {array.dtype} voxels", "Only real numbers can be used: convert the image.")
    _refuse_not_finite(path, array)
    if array.min() == array.max():
        raise DataError.of(path, f"is empty: every voxel is {array.min()}", "Get the image again.")
    return LoadedImage(image=image, array=array, dtype=_dtype(stored), changes=changes)


def load_label(path: Path, rules: CaseRules) -> LoadedLabel:
    """Read a label map and apply the dataset's steps.

    Raises:
        DataError: it cannot be read whole, holds no whole numbers, or an id that the publisher does not define.
    """
    stored = read_image(path)
    image, changes = _stepped(stored, "label", rules.label_steps)
    ids, rounding = _as_integers(voxels(image), path)
    illegal = {i: n for i, n in count_ids(ids).items() if i not in rules.legal_ids}
    if illegal:
        found = ", ".join(f"label {i} ({n} voxels)" for i, n in illegal.items())
        remedy = "Correct the mask, or check that this is the release you meant to convert."
        raise DataError.of(path, f"holds {found}, but the legal ids are {_listed(rules.legal_ids)}", remedy)
    return LoadedLabel(ids=ids, grid=Grid.of(image), dtype=_dtype(stored), changes=(*changes, *rounding))


def count_ids(ids: Array) -> dict[int, int]:
    """Return id → voxels for an integer array, without sorting its voxels where that can be avoided."""
    if ids.size and ids.min() >= 0 and ids.max() < 1 << 16:
        counts = np.bincount(ids.ravel().astype(np.int64, copy=False))
        return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
    values, counts = np.unique(ids, return_counts=True)
    return {int(i): int(n) for i, n in zip(values, counts, strict=True)}


def _dtype(image: sitk.Image) -> str:
    return str(sitk.GetArrayViewFromImage(image).dtype)


def _stepped(image: sitk.Image, file: str, steps: Sequence[Step]) -> tuple[sitk.Image, tuple[Change, ...]]:
    changes = []
    for step in steps:
        image, change = step(image)
        if change is not None:
            changes.append(Change(file=file, what=change[0], why=change[1]))
    return image, tuple(changes)


def _as_float32(image: sitk.Image) -> tuple[sitk.Image, tuple[str, str] | None]:
    if image.GetPixelID() != sitk.sitkFloat64:
        return image, None
    return sitk.Cast(image, sitk.sitkFloat32), ("stored as float32", "nnU-Net reads images as float32")


def _as_integers(array: Array, path: Path) -> tuple[Array, tuple[Change, ...]]:
    """Return the labels as integers; floats only if they mean integers."""
    if array.dtype.kind in "iu":
        return array, ()
    _refuse_not_finite(path, array)
    off = np.abs(array - np.rint(array))
    wrong = off > LABEL_TOLERANCE
    if wrong.any():
        example, count = array[wrong].flat[0], int(np.count_nonzero(wrong))
        remedy = "The mask was interpolated: export it again with nearest neighbour."
        raise DataError.of(path, f"holds label {example:g} ({count} voxels are no whole numbers)", remedy)
    largest = float(off.max())
    what = f"{array.dtype} read as integers" + (f", rounded by at most {largest:.1g}" if largest else "")
    why = f"labels are integers; a value within {LABEL_TOLERANCE:g} of one is taken for it"
    return np.rint(array).astype(np.int64), (Change(file="label", what=what, why=why),)


def _refuse_not_finite(path: Path, array: Array) -> None:
    strange = int(np.count_nonzero(~np.isfinite(array))) if array.dtype.kind == "f" else 0
    if strange:
        remedy = "Replace them with values that make sense, or leave the case out."
        raise DataError.of(path, f"holds {strange} voxels that are NaN or infinite", remedy)


def _listed(ids: Collection[int]) -> str:
    low, high = min(ids), max(ids)
    return f"{low}..{high}" if len(ids) == high - low + 1 > 2 else ", ".join(str(i) for i in sorted(ids))
