"""What a figure shows, not how: `charts.py` and its siblings draw it as SVG for the page, `plots.py` as PNG and PDF.

Boxes     rows of values, each with its case: box, dots and, if asked for, mean and interval
Chart     panels of lines (or single points) with error bars
Matrix    a table of shares, as a heat map with its numbers written in
Ready     a picture drawn elsewhere
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from nnunet_spine_ext.evaluation.metrics import NAN

FEWEST_FOR_A_BOX = 5
_MOST_MARKS = 25
_FEW_COLUMNS = 8
_DARK = 0.5


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The name of an axis; its ends, where the values do not decide them."""

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False

    def span(self, values: Iterable[float]) -> tuple[float, float]:
        """Return both ends: round numbers around `values` (NaN left out) where the axis does not fix them."""
        there = [value for value in values if math.isfinite(value) and (value > 0 or not self.log)]
        low, high = min(there, default=0.0), max(there, default=1.0)
        if self.log:
            return self.low or low / 1.3, self.high or high * 1.3
        step = round_step(max(high - low, abs(high) * 1e-3, 1e-6) / 4)
        low = min(low, math.floor(low / step + 1e-9) * step) if self.low is None else self.low
        high = max(high, math.ceil(high / step - 1e-9) * step) if self.high is None else self.high
        return (low, high) if high > low else (low - step, low + step)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with the ends of its confidence interval."""

    mean: float
    low: float = NAN
    high: float = NAN


@dataclass(frozen=True, kw_only=True)
class Series:
    """One row of boxes: values with the cases they belong to (NaN is left out)."""

    label: str
    values: tuple[tuple[str, float], ...]
    colour_index: int
    name: str
    """What the tooltip says before the case."""
    mean: Interval | None = None

    @property
    def there(self) -> tuple[tuple[str, float], ...]:
        """Return the values that are no NaN, with their cases."""
        return tuple((case, value) for case, value in self.values if not math.isnan(value))


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Horizontal boxes, a row per series; the series of a group stand together, such as the models of one structure."""

    title: str
    axis: Axis
    groups: tuple[tuple[Series, ...], ...]
    row_px: int = 34
    zero_line: bool = False
    signed: bool = False
    """Whether the numbers are differences, written with their sign."""

    @property
    def values(self) -> list[float]:
        """Return every number that must lie on the axis."""
        rows = [series for group in self.groups for series in group]
        ends = [v for row in rows if row.mean for v in (row.mean.mean, row.mean.low, row.mean.high)]
        return [v for v in (*(v for row in rows for _, v in row.values), *ends) if not math.isnan(v)]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point with the ends of its error bar (NaN: none)."""

    x: float
    y: float
    low: float = NAN
    high: float = NAN


@dataclass(frozen=True, kw_only=True)
class Line:
    """The points of one model, in the order of x."""

    name: str
    colour_index: int
    points: tuple[Point, ...]

    @property
    def marked(self) -> int:
        """Return n where every n-th point bears a mark: a long curve has them here and there."""
        return max(1, -(-len(self.points) // _MOST_MARKS))


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One small plot."""

    title: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Panels side by side, whose models are the same."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A heat map: one share (0 … 1) and one text per cell, NaN for an empty one."""

    title: str
    row_axis: str
    column_axis: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]
    texts: tuple[tuple[str, ...], ...]
    tips: tuple[tuple[str, ...], ...]
    """What is said when the pointer rests on a cell."""

    @property
    def has_wide_cells(self) -> bool:
        """Return whether the columns are so few that there is room for wide cells."""
        return len(self.columns) <= _FEW_COLUMNS

    def is_dark(self, row: int, column: int) -> bool:
        """Return whether a cell is so dark that what is written in it is white."""
        return self.shares[row][column] > _DARK


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A picture that another library has drawn, as an SVG file."""

    title: str
    svg: bytes


Figure: TypeAlias = Boxes | Chart | Matrix | Ready


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


def round_step(width: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below `width`."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= width * (1 - 1e-9))
