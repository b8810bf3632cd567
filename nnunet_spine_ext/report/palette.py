"""Colours of structures and models in reports (`data.colours`), used in the same order everywhere.

A table of more structures goes round the cycle, so structures also carry their names in the pictures; in the
challenge's table no two that touch share a colour.
"""

from __future__ import annotations

from nnunet_spine_ext.data.colours import CYCLE, Colour, colour
from nnunet_spine_ext.evaluation.structures import Structures

__all__ = ["CYCLE", "Colour", "colour", "css", "owners"]


def css(rgb: Colour) -> str:
    """Return a colour as CSS writes it."""
    return "#" + "".join(f"{value:02x}" for value in rgb)


def owners(structures: Structures) -> dict[int, int]:
    """Return id → index of the structure that it is painted as: the smallest that holds it (regions may nest)."""
    found: dict[int, int] = {}
    for index in sorted(range(len(structures.each)), key=lambda i: -len(structures.each[i].ids)):
        found.update(dict.fromkeys(structures.each[index].ids, index))
    return found
