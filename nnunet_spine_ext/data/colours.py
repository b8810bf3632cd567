"""Colours that remain distinct under the common colour-vision deficiencies, in one order everywhere.

Okabe and Ito's eight colours without black (jfly.uni-koeln.de/color).
"""

from __future__ import annotations

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
_SHADES = (1.0, 0.6, 0.8, 0.4)
"""Of the first, second … round of the cycle: hues repeat after seven, brightness then tells them apart."""


def colour(index: int) -> Colour:
    """Return the colour of the structure or model at `index`; the cycle repeats."""
    return CYCLE[index % len(CYCLE)]


def shaded_colour(index: int) -> Colour:
    """Return a colour for `index` that no other of the first 28 has."""
    shade = _SHADES[index // len(CYCLE) % len(_SHADES)]
    red, green, blue = (round(shade * value) for value in colour(index))
    return red, green, blue
