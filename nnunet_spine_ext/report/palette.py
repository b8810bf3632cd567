"""Colours of structures, models and shares in reports.

Structures follow `data.colours`. A table of more structures goes round the cycle, so structures also carry their names
in the pictures; in the challenge's table no two that touch share a colour. Models take the same hues in another order,
the pale ones last; after seven the hues come again, darker, so models also differ by their marks (`charts/marks.py`).
"""

from __future__ import annotations

from nnunet_spine_ext.data.colours import CYCLE, Colour, colour, shaded_colour
from nnunet_spine_ext.evaluation.structures import Structures

__all__ = ["CYCLE", "Colour", "colour", "css", "model_colour", "owners", "shade"]

_MODEL_ORDER = (4, 0, 2, 5, 6, 1, 3)
_PALE, _DEEP = (255, 255, 255), (8, 48, 107)
"""Ends of the scale of shares: one hue whose lightness falls evenly, so it prints in grey as well."""


def css(rgb: Colour) -> str:
    """Return a colour as CSS writes it."""
    return "#" + "".join(f"{value:02x}" for value in rgb)


def model_colour(index: int) -> Colour:
    """Return the colour of the model at `index`."""
    turn, place = divmod(index, len(_MODEL_ORDER))
    return shaded_colour(turn * len(CYCLE) + _MODEL_ORDER[place])


def shade(share: float) -> Colour:
    """Return the colour of a share from 0 (white) to 1 (dark blue)."""
    red, green, blue = (round(p + share * (d - p)) for p, d in zip(_PALE, _DEEP, strict=True))
    return red, green, blue


def owners(structures: Structures) -> dict[int, int]:
    """Return id → index of the structure that it is painted as: the smallest that holds it (regions may nest)."""
    found: dict[int, int] = {}
    for index in sorted(range(len(structures.each)), key=lambda i: -len(structures.each[i].ids)):
        found.update(dict.fromkeys(structures.each[index].ids, index))
    return found
