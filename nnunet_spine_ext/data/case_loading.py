"""Files of a case → voxels as they are to be written, or an error. Both passes of a conversion load through here.

What is repaired, and what never is, stands in `repairs`; formats and headers in `stored`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_spine_ext.data.cases import CaseRules, Change, Step, UnrepairableError
from nnunet_spine_ext.data.geometry import Array, Grid, voxels
from nnunet_spine_ext.data.repairs import apply_steps, refuse_not_finite, repair_voxels
from nnunet_spine_ext.data.stored import read_stored


@dataclass(frozen=True, kw_only=True)
class LoadedImage:
    """An image as it is to be written, before any crop and correction."""

    image: sitk.Image
    array: Array
    """Its voxels, z y x."""
    dtype: str
    """As it was stored."""
    flat: bool
    """The file holds a 2D image; here it is a single slice."""
    placed: bool
    """The file says where its voxels lie."""
    changes: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True)
class LoadedLabel:
    """A label map in the publisher's ids, every one of them legal."""

    published: Array
    """Integers, z y x."""
    ids: Array
    """The same in the scheme's source ids: other than `published` only where the scheme derives them."""
    grid: Grid
    dtype: str
    flat: bool
    placed: bool
    changes: tuple[Change, ...]


def load_image(path: Path, rules: CaseRules) -> LoadedImage:
    """Read an image, make the repairs and apply the dataset's steps.

    Raises:
        DataError: it cannot be read whole, holds NaN, infinity or complex numbers, or is constant.
    """
    stored = read_stored(path, file="image", repairs=rules.repairs, pixel_mm=rules.pixel_mm)
    with _about(path):
        if sitk.GetArrayViewFromImage(stored.image).dtype.kind not in "iuf":
            raise UnrepairableError(f"holds {stored.dtype} voxels", "Only real numbers can be used: convert the image.")
        image, repaired = repair_voxels(stored.image, rules.repairs, of="image", file="image")
        image, stepped = apply_steps(image, _named(rules.image_steps), file="image")
        array = voxels(image)
        refuse_not_finite(array)
        if array.min() == array.max():
            raise UnrepairableError(f"is empty: every voxel is {array.min()}", "Get the image again.")
    return LoadedImage(
        image=image,
        array=array,
        dtype=stored.dtype,
        flat=stored.flat,
        placed=stored.placed,
        changes=(*stored.changes, *repaired, *stepped),
    )


def load_label(path: Path, rules: CaseRules) -> LoadedLabel:
    """Read a label map, make the repairs and apply the dataset's steps.

    Raises:
        DataError: it cannot be read whole, holds no whole numbers, or an id that the publisher does not define.
    """
    stored = read_stored(path, file="label", repairs=rules.repairs)
    with _about(path):
        image, repaired = repair_voxels(stored.image, rules.repairs, of="label", file="label")
        image, stepped = apply_steps(image, _named(rules.label_steps), file="label")
        published = voxels(image)
        _require_legal(published, rules.legal_ids)
        derived, making = apply_steps(image, _named([rules.derive] if rules.derive else []), file="label")
    return LoadedLabel(
        published=published,
        ids=voxels(derived) if rules.derive else published,
        grid=Grid.of(image),
        dtype=stored.dtype,
        flat=stored.flat,
        placed=stored.placed,
        changes=(*stored.changes, *repaired, *stepped, *making),
    )


def count_ids(ids: Array) -> dict[int, int]:
    """Return id → voxels for an integer array, without sorting its voxels where that can be avoided."""
    if ids.size and ids.min() >= 0 and ids.max() < 1 << 16:
        counts = np.bincount(ids.ravel().astype(np.int64, copy=False))
        return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
    values, counts = np.unique(ids, return_counts=True)
    return {int(i): int(n) for i, n in zip(values, counts, strict=True)}


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Say which file a step refused."""
    try:
        yield
    except UnrepairableError as error:
        raise error.about(path) from error


def _named(steps: Sequence[Step]) -> list[tuple[str, Step]]:
    return [(step.__name__.replace("_", " "), step) for step in steps]


def _require_legal(ids: Array, legal: Collection[int]) -> None:
    if ids.dtype.kind not in "iu":
        raise UnrepairableError(f"holds {ids.dtype} voxels", "Labels are whole numbers: export the mask again.")
    illegal = {i: n for i, n in count_ids(ids).items() if i not in legal}
    if illegal:
        found = ", ".join(f"label {i} ({n} voxels)" for i, n in list(illegal.items())[:5])
        found += f" and {len(illegal) - 5} other ids" if len(illegal) > 5 else ""
        remedy = "Correct the mask, or check that this is the release you meant to convert."
        raise UnrepairableError(f"holds {found}, but the legal ids are {_listed(legal)}", remedy)


def _listed(ids: Collection[int]) -> str:
    low, high = min(ids), max(ids)
    return f"{low}..{high}" if len(ids) == high - low + 1 > 2 else ", ".join(str(i) for i in sorted(ids))
