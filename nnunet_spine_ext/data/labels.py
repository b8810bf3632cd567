"""Label tables: which source ids become which target ids, and under what names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_spine_ext.data.geometry import Array

MRSPINESEG_STRUCTURES = (
    "S", "L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9",
    "L5/S", "L4/L5", "L3/L4", "L2/L3", "L1/L2", "T12/L1", "T11/T12", "T10/T11", "T9/T10",
)  # fmt: skip
"""The challenge's structures; the id of each is its position, counted from 1 (background is 0)."""


@dataclass(frozen=True, kw_only=True)
class LabelScheme:
    """A choice of structures to segment.

    `structures` holds (name, source ids) in the order of the target ids 1, 2, …; source ids that no structure names
    become background. `ordered` says that the structures follow one another along the spine, so that a mirror image
    along it would carry wrong names.
    """

    name: str
    description: str
    structures: tuple[tuple[str, tuple[int, ...]], ...]
    ordered: bool

    @property
    def names(self) -> dict[str, int]:
        """Return name → target id as `dataset.json` wants it, background first."""
        return {"background": 0, **{name: i for i, (name, _) in enumerate(self.structures, start=1)}}

    def apply(self, labels: Array) -> NDArray[np.uint8]:
        """Return `labels` (any integer array of non-negative source ids) in target ids."""
        highest = max([int(labels.max(initial=0)), *(i for _, ids in self.structures for i in ids)])
        table = np.zeros(highest + 1, dtype=np.uint8)
        for target, (_, ids) in enumerate(self.structures, start=1):
            table[list(ids)] = target
        return table[labels]


def identity_scheme(name: str, description: str, structures: tuple[str, ...]) -> LabelScheme:
    """Return a scheme whose target ids equal the source ids 1, 2, … of `structures`, ordered along the spine."""
    numbered = tuple((structure, (i,)) for i, structure in enumerate(structures, start=1))
    return LabelScheme(name=name, description=description, structures=numbered, ordered=True)


def label_name_to_id(labels: dict[str, int | list[int]]) -> dict[str, int | list[int]]:
    """Return the foreground entries of `dataset.json`'s labels (regions stay lists), without background and ignore."""
    return {name: value for name, value in labels.items() if name not in ("background", "ignore")}
