"""Heat maps as inline SVG, the number written in every cell that is not next to nothing."""

from __future__ import annotations

import math

from markupsafe import Markup, escape

from nnunet_spine_ext.report.charts.figures import Matrix
from nnunet_spine_ext.report.charts.marks import wrapped
from nnunet_spine_ext.report.palette import css, shade

_PX_PER_LETTER = 6.9
_LETTERS = 28
_SMALL_CELL = (30, 22)
_LARGE_CELL = (84, 30)
_LINE_PX = 12


def draw_matrix(figure: Matrix) -> Markup:
    """Return the figure as SVG."""
    wide, high = _LARGE_CELL if figure.has_wide_cells else _SMALL_CELL
    rows, columns = ([wrapped(name, _LETTERS) for name in names] for names in (figure.rows, figure.columns))
    high = max(high, 13 * max((len(name) for name in rows), default=0) + 5)
    left = 26 + _PX_PER_LETTER * max((len(line) for name in rows for line in name), default=0)
    turned = any(len(line) * _PX_PER_LETTER > wide for name in columns for line in name)
    longest = max((len(line) for name in columns for line in name), default=0)
    lines = max((len(name) for name in columns), default=1)
    top = 24 + (_PX_PER_LETTER * longest + 8 if turned else 13.0 * lines + 4)
    width, height = left + wide * len(columns) + 4, top + high * len(rows) + 4
    cells = "".join(
        _cell(figure, i, j, x=left + j * wide, y=top + i * high, size=(wide, high))
        for i in range(len(rows))
        for j in range(len(columns))
    )
    names = "".join(_name(name, x=left - 6, y=top + (i + 0.5) * high) for i, name in enumerate(rows))
    heads = "".join(_head(name, x=left + (j + 0.5) * wide, y=top - 6, turned=turned) for j, name in enumerate(columns))
    axes = (
        f'<text class="axis" x="{left + wide * len(columns) / 2:.1f}" y="14">{escape(figure.column_axis)}</text>'
        f'<text class="axis" transform="translate(13 {top + high * len(rows) / 2:.1f}) rotate(-90)">'
        f"{escape(figure.row_axis)}</text>"
    )
    return Markup(
        "<svg class='plot matrix{}' style='max-width:{:.0f}px' viewBox='0 0 {:.0f} {:.0f}' role='img' aria-label='{}'>"
        "{}</svg>"
    ).format(
        " few" if figure.has_wide_cells else "",
        width * 1.05,
        width,
        height,
        figure.title,
        Markup(axes + heads + names + cells),
    )


def _cell(figure: Matrix, i: int, j: int, *, x: float, y: float, size: tuple[int, int]) -> str:
    share, text, tip = figure.shares[i][j], figure.texts[i][j], figure.tips[i][j]
    there = math.isfinite(share)
    colour = css(shade(share)) if there else "#fff"
    place = f'x="{x:.0f}" y="{y:.0f}" width="{size[0]}" height="{size[1]}"'
    told = f"<title>{escape(tip)}</title>" if tip else ""
    if there and share == 0 and not text and not tip:
        return f'<rect class="cell" {place} fill="{colour}"/>'
    ink = ' class="light"' if figure.is_dark(i, j) else ""
    label = f'<text{ink} x="{x + size[0] / 2:.0f}" y="{y + size[1] / 2 + 4:.0f}">{escape(text)}</text>' if text else ""
    return f'<g class="cell"><rect {place} fill="{colour}"/>{label}{told}</g>'


def _name(lines: list[str], *, x: float, y: float) -> str:
    return f'<text class="row">{_spans(lines, x=x, first=_first_of(lines, y))}</text>'


def _head(lines: list[str], *, x: float, y: float, turned: bool) -> str:
    if turned:
        spans = _spans(lines, x=0, first=_first_of(lines, 0))
        return f'<text class="head" transform="translate({x:.0f} {y:.0f}) rotate(-90)">{spans}</text>'
    return f'<text class="tick">{_spans(lines, x=x, first=y - _LINE_PX * (len(lines) - 1))}</text>'


def _first_of(lines: list[str], middle: float) -> float:
    """Return where the first line stands if the lines are around `middle`."""
    return middle + 4 - _LINE_PX * (len(lines) - 1) / 2


def _spans(lines: list[str], *, x: float, first: float) -> str:
    return "".join(
        f'<tspan x="{x:.0f}" y="{first + _LINE_PX * i:.0f}">{escape(line)}</tspan>' for i, line in enumerate(lines)
    )
