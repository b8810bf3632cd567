"""Box-and-dot plots as inline SVG: small, sharp in print, and every dot tells its case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from nnunet_spine_ext.report.palette import colour, css

_LABEL_PX_PER_LETTER = 6.8
_LABEL_PX_RANGE = (110, 360)
_PLOT_PX = 620
_RIGHT_PX = 20
_ALL_DOTS = 60
"""Up to so many values all are drawn, above it only those outside the whiskers."""
_FEWEST_FOR_A_BOX = 5


@dataclass(frozen=True, kw_only=True)
class Series:
    """One row of the plot: values with the cases they belong to (NaN is left out)."""

    label: str
    values: tuple[tuple[str, float], ...]
    colour_index: int
    name: str
    """What the tooltip says before the case."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """Quartiles, and whiskers that end at the last value within 1.5 interquartile ranges (Tukey)."""

    low: float
    first: float
    median: float
    third: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Box:
        """Return the box of at least one value."""
        first, median, third = (float(q) for q in np.percentile(values, (25, 50, 75)))
        reach = 1.5 * (third - first)
        inside = [value for value in values if first - reach <= value <= third + reach]
        return cls(low=min(inside), first=first, median=median, third=third, high=max(inside))


def box_plot(groups: Sequence[Sequence[Series]], *, title: str, axis: str, row_px: int) -> Markup:
    """Return horizontal boxes, a row per series and a gap between groups; the axis ends at 1 and begins below all.

    Args:
        groups: rows that belong together, such as the models of one structure.
        title: read aloud in place of the figure.
        axis: name of the axis.
        row_px: height of a row.
    """
    drawn = [v for group in groups for series in group for _, v in series.values if not math.isnan(v)]
    letters = max((len(series.label) for group in groups for series in group), default=0)
    left = int(np.clip(letters * _LABEL_PX_PER_LETTER + 12, *_LABEL_PX_RANGE))
    scale = _Scale(low=min(math.floor(min(drawn, default=0) * 10) / 10, 0.9), left_px=left)
    parts, top = [], 6.0
    for number, group in enumerate(groups):
        height = row_px * len(group) + row_px * 0.5
        if number % 2:
            parts.append(f'<rect class="band" x="0" y="{top:.1f}" width="{scale.width_px}" height="{height:.1f}"/>')
        for i, series in enumerate(group):
            parts.append(_row(series, scale, y=top + row_px * (i + 0.75), row_px=row_px))
        top += height
    return Markup("<svg class='plot' viewBox='0 0 {} {:.0f}' role='img' aria-label='{}'>{}{}</svg>").format(
        scale.width_px, top + 40, title, Markup(scale.draw(bottom=top, name=axis)), Markup("".join(parts))
    )


@dataclass(frozen=True, kw_only=True)
class _Scale:
    low: float
    left_px: int

    @property
    def width_px(self) -> int:
        return self.left_px + _PLOT_PX + _RIGHT_PX

    def x(self, value: float) -> float:
        return self.left_px + (value - self.low) / (1 - self.low) * _PLOT_PX

    def draw(self, *, bottom: float, name: str) -> str:
        step = 0.1 if self.low < 0.7 else 0.05 if self.low < 0.85 else 0.02
        ticks = [self.low + i * step for i in range(round((1 - self.low) / step) + 1)]
        lines = "".join(
            f'<line class="grid" x1="{self.x(t):.1f}" x2="{self.x(t):.1f}" y1="2" y2="{bottom:.1f}"/>'
            f'<text class="tick" x="{self.x(t):.1f}" y="{bottom + 14:.1f}">{t:.2f}</text>'
            for t in ticks
        )
        middle = self.x((self.low + 1) / 2)
        return f'{lines}<text class="axis" x="{middle:.1f}" y="{bottom + 32:.1f}">{escape(name)}</text>'


def _row(series: Series, scale: _Scale, *, y: float, row_px: int) -> str:
    there = [(case, value) for case, value in series.values if not math.isnan(value)]
    label = f'<text class="row" x="{scale.left_px - 8}" y="{y + 4:.1f}">{escape(series.label)}</text>'
    if not there:
        return f'{label}<text class="none" x="{scale.left_px + 4}" y="{y + 4:.1f}">no value</text>'
    box = Box.of([value for _, value in there])
    dots = there if len(there) <= _ALL_DOTS else [(c, v) for c, v in there if not box.low <= v <= box.high]
    half = row_px * 0.32
    shape = _box(box, scale, y=y, half=half) if len(there) >= _FEWEST_FOR_A_BOX else ""
    circles = "".join(
        f'<circle cx="{scale.x(value):.1f}" cy="{y + _jitter(i) * half:.1f}" r="{min(3.0, row_px / 5):.1f}">'
        f"<title>{escape(series.name)}, {escape(case)}: {value:.3f}</title></circle>"
        for i, (case, value) in enumerate(dots)
    )
    return f'{label}<g fill="{css(colour(series.colour_index))}" stroke="#222">{shape}{circles}</g>'


def _box(box: Box, scale: _Scale, *, y: float, half: float) -> str:
    low, first, median, third, high = (scale.x(v) for v in (box.low, box.first, box.median, box.third, box.high))
    return (
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<rect class="box" x="{first:.1f}" y="{y - half:.1f}" width="{third - first:.1f}" height="{2 * half:.1f}"/>'
        f'<line class="median" x1="{median:.1f}" x2="{median:.1f}" y1="{y - half:.1f}" y2="{y + half:.1f}"/>'
    )


def _jitter(i: int) -> float:
    """Return a fixed offset in (-0.8, 0.8) that differs between neighbours (golden ratio), so that dots do not hide."""
    return ((i * 0.618034) % 1 - 0.5) * 1.6
