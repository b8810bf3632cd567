"""Box-and-dot plots as inline SVG: small, sharp in print, and every dot tells its case."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup, escape

from nnunet_spine_ext.report.charts.axes import Scale
from nnunet_spine_ext.report.charts.figures import FEWEST_FOR_A_BOX, Box, Boxes, Series
from nnunet_spine_ext.report.charts.marks import mark, wrapped
from nnunet_spine_ext.report.palette import css, model_colour

_LABEL_PX_PER_LETTER = 7.6
_LETTERS = 34
_LABEL_PX_RANGE = (90, 260)
_PLOT_PX = 620
_RIGHT_PX = 20
_LINE_PX = 13
_ALL_DOTS = 60
"""Up to so many values all are drawn, above it only those outside the whiskers."""


def draw_boxes(figure: Boxes) -> Markup:
    """Return the figure as SVG; groups are told apart by bands."""
    labels = [line for group in figure.groups for row in group for line in wrapped(row.label, _LETTERS)]
    letters = max((len(line) for line in labels), default=0)
    left = int(np.clip(letters * _LABEL_PX_PER_LETTER + 12, *_LABEL_PX_RANGE))
    scale = Scale.of(figure.axis, figure.values, start_px=left, end_px=left + _PLOT_PX)
    width, parts, top = left + _PLOT_PX + _RIGHT_PX, [], 6.0
    for number, group in enumerate(figure.groups):
        height = figure.row_px * (len(group) + 0.5)
        if number % 2:
            parts.append(f'<rect class="band" x="0" y="{top:.1f}" width="{width}" height="{height:.1f}"/>')
        parts += [_row(row, scale, figure, y=top + figure.row_px * (i + 0.75)) for i, row in enumerate(group)]
        top += height
    return Markup("<svg class='plot' viewBox='0 0 {} {:.0f}' role='img' aria-label='{}'>{}{}</svg>").format(
        width, top + 40, figure.title, Markup(_axis(scale, figure, bottom=top)), Markup("".join(parts))
    )


def _axis(scale: Scale, figure: Boxes, *, bottom: float) -> str:
    lines = "".join(
        f'<line class="grid" x1="{scale.at(t):.1f}" x2="{scale.at(t):.1f}" y1="2" y2="{bottom:.1f}"/>'
        f'<text class="tick" x="{scale.at(t):.1f}" y="{bottom + 14:.1f}">{text}</text>'
        for t, text in scale.ticks()
    )
    if figure.zero_line:
        lines += f'<line class="zero" x1="{scale.at(0):.1f}" x2="{scale.at(0):.1f}" y1="2" y2="{bottom:.1f}"/>'
    middle = (scale.start_px + scale.end_px) / 2
    return f'{lines}<text class="axis" x="{middle:.1f}" y="{bottom + 32:.1f}">{escape(figure.axis.name)}</text>'


def _row(series: Series, scale: Scale, figure: Boxes, *, y: float) -> str:
    there = series.there
    label = _label(series.label, x=scale.start_px - 8, y=y)
    if not there:
        return f'{label}<text class="none" x="{scale.start_px + 4}" y="{y + 4:.1f}">no value</text>'
    box = Box.of([value for _, value in there])
    dots = there if len(there) <= _ALL_DOTS else [(c, v) for c, v in there if not box.low <= v <= box.high]
    half = figure.row_px * 0.32
    shape = _box(box, scale, y=y, half=half) if len(there) >= FEWEST_FOR_A_BOX else ""
    sign = "+" if figure.signed else ""
    marks = "".join(
        mark(
            series.colour_index,
            scale.at(value),
            y + _jitter(i) * half,
            radius=min(3.0, figure.row_px / 5),
            tip=f"{series.name}, {case}: {value:{sign}.3f}",
        )
        for i, (case, value) in enumerate(dots)
    )
    return f'{label}<g fill="{css(model_colour(series.colour_index))}" stroke="#222">{shape}{marks}</g>' + _mean(
        series, scale, y=y, half=half, sign=sign
    )


def _label(text: str, *, x: float, y: float) -> str:
    lines = wrapped(text, _LETTERS)
    first = y + 4 - _LINE_PX * (len(lines) - 1) / 2
    spans = "".join(
        f'<tspan x="{x}" y="{first + _LINE_PX * i:.1f}">{escape(line)}</tspan>' for i, line in enumerate(lines)
    )
    return f'<text class="row">{spans}</text>' if text else ""


def _box(box: Box, scale: Scale, *, y: float, half: float) -> str:
    low, first, median, third, high = (scale.at(v) for v in (box.low, box.first, box.median, box.third, box.high))
    return (
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<rect class="box" x="{first:.1f}" y="{y - half:.1f}" width="{third - first:.1f}" height="{2 * half:.1f}"/>'
        f'<line class="median" x1="{median:.1f}" x2="{median:.1f}" y1="{y - half:.1f}" y2="{y + half:.1f}"/>'
    )


def _mean(series: Series, scale: Scale, *, y: float, half: float, sign: str) -> str:
    """Return mean and interval below the box, as a thick line with a bar across."""
    if series.mean is None:
        return ""
    at, below = scale.at(series.mean.mean), y + half + 5
    tip = f"<title>{escape(series.name)}: mean {series.mean.mean:{sign}.3f}</title>"
    bar = f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{below - 4:.1f}" y2="{below + 4:.1f}"/>'
    if math.isnan(series.mean.low):
        return f'<g class="mean">{bar}{tip}</g>'
    low, high = scale.at(series.mean.low), scale.at(series.mean.high)
    return f'<g class="mean"><line x1="{low:.1f}" x2="{high:.1f}" y1="{below:.1f}" y2="{below:.1f}"/>{bar}{tip}</g>'


def _jitter(i: int) -> float:
    """Return a fixed offset in (-0.8, 0.8) that differs between neighbours (golden ratio), so that dots do not hide."""
    return ((i * 0.618034) % 1 - 0.5) * 1.6
