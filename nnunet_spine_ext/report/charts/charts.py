"""Lines and points with error bars as inline SVG, a small plot for each panel."""

from __future__ import annotations

import math

from markupsafe import Markup, escape

from nnunet_spine_ext.report.charts.axes import Scale
from nnunet_spine_ext.report.charts.figures import Chart, Line, Panel, Point
from nnunet_spine_ext.report.charts.marks import DASHES, mark
from nnunet_spine_ext.report.palette import css, model_colour

_WIDTH, _HEIGHT = 400, 270
_RIGHT, _TOP, _BOTTOM = 14, 24, 46
_NAME_PX, _PX_PER_LETTER = 26, 6.6
"""Left of the plot: the upright name of the axis, then the longest number at its ticks."""


def draw_chart(figure: Chart) -> Markup:
    """Return the panels as SVGs in one block, which wraps them."""
    panels = Markup("").join(_panel(panel, figure.title) for panel in figure.panels)
    return Markup("<div class='panels'>{}</div>").format(panels)


def _panel(panel: Panel, title: str) -> Markup:
    points = [point for line in panel.lines for point in line.points]
    heights = [v for p in points for v in (p.y, p.low, p.high)]
    y = Scale.of(panel.y, heights, start_px=_HEIGHT - _BOTTOM, end_px=_TOP)
    left = _NAME_PX + round(_PX_PER_LETTER * max(len(text) for _, text in y.ticks()))
    x = Scale.of(panel.x, [p.x for p in points], start_px=left, end_px=_WIDTH - _RIGHT)
    lines = Markup("".join(_line(line, x, y) for line in panel.lines))
    return Markup(
        "<svg class='plot panel' viewBox='0 0 {} {}' role='img' aria-label='{}'>{}"
        "<text class='title' x='{}' y='14'>{}</text>{}</svg>"
    ).format(_WIDTH, _HEIGHT, f"{title}: {panel.title}", Markup(_axes(panel, x, y)), left, panel.title, lines)


def _axes(panel: Panel, x: Scale, y: Scale) -> str:
    left, down, across = x.start_px, _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    upright = "".join(
        f'<line class="grid" x1="{x.at(t):.1f}" x2="{x.at(t):.1f}" y1="{_TOP}" y2="{down}"/>'
        f'<text class="tick" x="{x.at(t):.1f}" y="{down + 14}">{text}</text>'
        for t, text in x.ticks()
    )
    level = "".join(
        f'<line class="grid" x1="{left}" x2="{across}" y1="{y.at(t):.1f}" y2="{y.at(t):.1f}"/>'
        f'<text class="tick end" x="{left - 6}" y="{y.at(t) + 4:.1f}">{text}</text>'
        for t, text in y.ticks()
    )
    middle = (_TOP + down) / 2
    return (
        f'{upright}{level}<text class="axis" x="{(left + across) / 2}" y="{down + 32}">{escape(panel.x.name)}</text>'
        f'<text class="axis" transform="translate(13 {middle}) rotate(-90)">{escape(panel.y.name)}</text>'
    )


def _line(line: Line, x: Scale, y: Scale) -> str:
    there = [point for point in line.points if math.isfinite(point.x) and math.isfinite(point.y)]
    at = [(x.at(point.x), y.at(point.y)) for point in there]
    colour, dash = css(model_colour(line.colour_index)), DASHES[line.colour_index % len(DASHES)]
    path = " ".join(f"{left:.1f},{top:.1f}" for left, top in at)
    drawn = f'<polyline points="{path}" stroke="{colour}" stroke-dasharray="{dash}"/>' if len(at) > 1 else ""
    bars = "".join(_bar(point, x, y, colour) for point in there if math.isfinite(point.low + point.high))
    marks = "".join(
        mark(line.colour_index, left, top, radius=4, tip=_tip(line, point))
        for point, (left, top) in list(zip(there, at, strict=True))[:: line.marked]
    )
    return f'{drawn}{bars}<g fill="{colour}" stroke="#222">{marks}</g>'


def _bar(point: Point, x: Scale, y: Scale, colour: str) -> str:
    at, low, high = f"{x.at(point.x):.1f}", f"{y.at(point.low):.1f}", f"{y.at(point.high):.1f}"
    return f'<line class="bar" x1="{at}" x2="{at}" y1="{low}" y2="{high}" stroke="{colour}"/>'


def _tip(line: Line, point: Point) -> str:
    reach = f" ({point.low:.3f} to {point.high:.3f})" if math.isfinite(point.low + point.high) else ""
    return f"{line.name}, {point.x:g}: {point.y:.3f}{reach}"
