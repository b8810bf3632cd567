"""Which voxel ids make up each structure, read from the `labels` of `dataset.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnunet_spine_ext.errors import SpineExtError

ALL_STRUCTURES = "all structures"
"""The `label` of rows that speak of a whole case: a mean over its structures."""
UNION = "union of structures"
"""The `label` of rows that compare any structure with any structure (foreground with foreground)."""
GROUPS = (ALL_STRUCTURES, UNION)

Labels = Mapping[str, "int | Sequence[int]"]


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A name and the voxel ids that belong to it: one for a label, several for a region."""

    name: str
    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Structures:
    """Everything that is measured in a dataset, in the order of its `dataset.json`."""

    each: tuple[Structure, ...]
    ignore_id: int | None = None
    """Voxels with this id in the reference are left out of everything."""

    @classmethod
    def of(cls, labels: Labels) -> Structures:
        """Return the structures of `labels` (name → id, or name → ids for a region), without background and ignore.

        Raises:
            SpineExtError: an entry is no id, or a structure bears the name of a group of ours.
        """
        each = tuple(_structure(name, ids) for name, ids in labels.items() if name not in ("background", "ignore"))
        if not each:
            raise SpineExtError(
                "The label table names no structure besides background. Check `labels` in dataset.json."
            )
        ignore = _structure("ignore", labels["ignore"]).ids[0] if "ignore" in labels else None
        return cls(each=each, ignore_id=ignore)

    @property
    def union(self) -> Structure:
        """Return the structure that holds every voxel of any structure."""
        return Structure(name=UNION, ids=tuple(sorted({i for structure in self.each for i in structure.ids})))

    @property
    def known_ids(self) -> frozenset[int]:
        """Return every id that may occur in a file: background, the structures' and the ignore id."""
        ignore = () if self.ignore_id is None else (self.ignore_id,)
        return frozenset((0, *self.union.ids, *ignore))


def _structure(name: str, ids: int | Sequence[int]) -> Structure:
    found = (ids,) if isinstance(ids, int) else tuple(ids)
    if name in GROUPS:
        raise SpineExtError(f"A structure cannot be called {name!r}: the table of metrics uses that name. Rename it.")
    if not found or not all(isinstance(i, int) and i > 0 for i in found):
        raise SpineExtError(
            f"The label table gives {ids!r} for {name!r}; expected a whole number above 0, or a list of them."
        )
    return Structure(name=name, ids=found)
