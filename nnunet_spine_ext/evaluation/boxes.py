"""The part of two label maps that holds one structure: everything that is slow looks at no more.

Axes: z y x.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_spine_ext.data.geometry import Array
from nnunet_spine_ext.evaluation.structures import Structure, Structures

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Masks:
    """One structure on both sides, inside the smallest box that holds it on both; None where it has no voxel at all."""

    structure: Structure
    reference: Mask | None
    prediction: Mask | None
    start: tuple[int, ...]
    """First voxel of the box in the whole image."""


def masks_of(reference: Array, prediction: Array, structures: Structures) -> Iterator[Masks]:
    """Yield every structure's masks, in order; voxels with the ignore id in the reference belong to nothing.

    Args:
        reference: ids known to `structures`, any real dtype.
        prediction: the same, of the same shape.
        structures: which to yield; their union is not among them.
    """
    truth, predicted = (_whole_numbers(labels, max(structures.known_ids)) for labels in (reference, prediction))
    if structures.ignore_id is not None:
        predicted = np.where(truth == structures.ignore_id, predicted.dtype.type(0), predicted)
    sides = [(labels, ndimage.find_objects(labels)) for labels in (truth, predicted)]
    for structure in structures.each:
        boxes = [[found[i - 1] for i in structure.ids if i <= len(found) and found[i - 1]] for _, found in sides]
        box = _hull([*boxes[0], *boxes[1]])
        masks = [
            _mask(labels[box], structure) if found else None for (labels, _), found in zip(sides, boxes, strict=True)
        ]
        yield Masks(
            structure=structure, reference=masks[0], prediction=masks[1], start=tuple(part.start for part in box)
        )


def _whole_numbers(labels: Array, highest: int) -> Array:
    return labels if labels.dtype.kind in "ui" else labels.astype(np.min_scalar_type(highest))


def _hull(boxes: list[tuple[slice, ...]]) -> tuple[slice, ...]:
    """Return the smallest box around `boxes`; () for none."""
    return tuple(slice(min(p.start for p in parts), max(p.stop for p in parts)) for parts in zip(*boxes, strict=True))


def _mask(labels: Array, structure: Structure) -> Mask:
    mask: Mask = labels == structure.ids[0]
    for other in structure.ids[1:]:
        mask |= labels == other
    return mask
