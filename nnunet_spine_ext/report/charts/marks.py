"""Marks of models: each has its own shape as well as its own colour."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from nnunet_spine_ext.report.palette import css, model_colour

_UNIT_SHAPES = (
    ((-1.0, 0.0), "a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z"),
    ((-0.88, -0.88), "h{s}v{s}h-{s}z"),
    ((0.0, -1.15), "l{t} {u}h-{w}z"),
    ((0.0, -1.2), "l{q} {q}l-{q} {q}l-{q} -{q}z"),
    ((0.0, 1.15), "l{t} -{u}h-{w}z"),
    ((-1.1, -0.45), "h{w}v{d9}h-{w}z"),
    ((-0.45, -1.1), "h{d9}v{w}h-{d9}z"),
)
"""Circle, square, triangle, diamond, triangle down, bar, post: start, and path from there, of radius 1."""
_MAIN = re.compile(r".+?(?: |__|\Z)", re.DOTALL)
_SINGLE = re.compile(r".+?(?:[_/-]+|\Z)", re.DOTALL)
DASHES = ("", "7 3", "2 2", "9 3 2 3", "4 4", "12 3", "1 3")


def mark(index: int, x: float, y: float, *, radius: float, tip: str = "") -> str:
    """Return the mark of the model at `index` as an SVG path around (x, y)."""
    (dx, dy), path = _UNIT_SHAPES[index % len(_UNIT_SHAPES)]
    sizes = {"r": 1.0, "d": 2.0, "s": 1.76, "t": 1.1, "u": 2.0, "w": 2.2, "q": 1.2, "d9": 0.9}
    drawn = path.format(**{key: f"{value * radius:.3g}" for key, value in sizes.items()})
    start = f"M{x + dx * radius:.1f} {y + dy * radius:.1f}"
    return f'<path d="{start}{drawn}"><title>{escape(tip)}</title></path>' if tip else f'<path d="{start}{drawn}"/>'


def key(index: int) -> Markup:
    """Return a small picture of the mark, to stand before the model's name."""
    drawn = Markup(mark(index, 7, 7, radius=4.6))
    return Markup(
        "<svg class='mark' width='14' height='14' viewBox='0 0 14 14' aria-hidden='true' "
        "fill='{}' stroke='#222'>{}</svg>"
    ).format(css(model_colour(index)), drawn)


def wrapped(text: str, letters: int) -> list[str]:
    """Return a name in lines of at most about `letters`, broken at spaces and double underscores, or single ones."""
    lines, line = [], ""
    for piece in pieces(text, letters):
        if line and len(line) + len(piece.rstrip()) > letters:
            lines.append(line.rstrip())
            line = ""
        line += piece
    return [*lines, line.rstrip()]


def pieces(text: str, letters: int) -> list[str]:
    """Return the parts of a name between which it may be broken; parts that are too long are broken further."""
    parts = _MAIN.findall(text)
    return [piece for part in parts for piece in ([part] if len(part) <= letters else _SINGLE.findall(part))]
