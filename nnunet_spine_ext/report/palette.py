"""Colours: safe for the common colour-vision deficiencies, and used in the same order everywhere.

Okabe and Ito's eight colours without black (jfly.uni-koeln.de/color). A table of more structures goes round the cycle,
so structures also carry their names in the pictures; in the challenge's table no two that touch share a colour.
"""

from __future__ import annotations

from nnunet_spine_ext.evaluation.structures import Structures

Colour = tuple[int, int, int]

CYCLE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


def colour(index: int) -> Colour:
    """Return the colour of the structure or model at `index`."""
    return CYCLE[index % len(CYCLE)]


def css(rgb: Colour) -> str:
    """Return a colour as CSS writes it."""
    return "#" + "".join(f"{value:02x}" for value in rgb)


def owners(structures: Structures) -> dict[int, int]:
    """Return id → index of the structure that it is painted as: the smallest that holds it (regions may nest)."""
    found: dict[int, int] = {}
    for index in sorted(range(len(structures.each)), key=lambda i: -len(structures.each[i].ids)):
        found.update(dict.fromkeys(structures.each[index].ids, index))
    return found
