"""Which structures follow one another along the spine: read from their names.

Known names, in any case, with spaces, hyphens or underscores:

    vertebrae   C1 … T12, Th12, L5, S, S1, sacrum, vertebra L5, vertebrae_L5
    discs       L5/S, L4-L5, disc L4/L5, disc_L5_S
    numbered    vertebra 1, disc below vertebra 1 (SPIDER: counted from below)

A structure with another name (spinal canal) is no level, and has no part in what is counted by level.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nnunet_spine_ext.evaluation.structures import Structure, Structures

_REGIONS = {"c": 0, "t": 100, "th": 100, "l": 200, "s": 300}
_LEVEL = r"(?:(?:c|th|t|l|s)\d{1,2}|s(?:acrum)?)"
_VERTEBRA = re.compile(rf"(?:vertebrae?[ _-])?({_LEVEL})")
_DISC = re.compile(rf"(?:dis[ck][ _-])?({_LEVEL})[/_-]({_LEVEL})")
_NUMBERED = re.compile(r"(vertebra|disc below vertebra)[ _](\d{1,2})")


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Structures of one kind, at least two, from head to foot."""

    kind: str
    structures: tuple[Structure, ...]


def chains(structures: Structures) -> tuple[Chain, ...]:
    """Return the vertebrae, and the discs, that bear the name of a level, each from head to foot."""
    found: dict[str, list[tuple[int, Structure]]] = {}
    for structure in structures.each:
        place = level_of(structure.name)
        if place is not None:
            found.setdefault(place[0], []).append((place[1], structure))
    return tuple(
        Chain(kind=kind, structures=tuple(structure for _, structure in sorted(members, key=lambda pair: pair[0])))
        for kind, members in found.items()
        if len(members) > 1
    )


def level_of(name: str) -> tuple[str, int] | None:
    """Return the kind of a structure and its place along the spine (less is nearer to the head); None if it has none.

    A disc has the place of the vertebra above it.
    """
    text = name.strip().lower()
    if match := _NUMBERED.fullmatch(text):
        return match.group(1), -int(match.group(2))
    if match := _VERTEBRA.fullmatch(text):
        return "vertebra", _place(match.group(1))
    if match := _DISC.fullmatch(text):
        return "disc", _place(match.group(1))
    return None


def _place(level: str) -> int:
    region = level.rstrip("0123456789")
    number = level[len(region) :]
    return _REGIONS["s" if region == "sacrum" else region] + int(number or 0)
