"""Figures as files, PNG for slides and PDF for papers: the same facts as on the page, drawn by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import NullLocator

from nnunet_spine_ext.data.files import make_folder, whole_file
from nnunet_spine_ext.report.blocks import Drawn
from nnunet_spine_ext.report.charts.axes import Scale
from nnunet_spine_ext.report.charts.figures import (
    FEWEST_FOR_A_BOX,
    Axis,
    Box,
    Boxes,
    Chart,
    Line,
    Matrix,
    Panel,
    Ready,
    Series,
)
from nnunet_spine_ext.report.charts.marks import wrapped
from nnunet_spine_ext.report.palette import model_colour, shade

DPI = 200
_MARKERS = ("o", "s", "^", "D", "v", "_", "|")
_DASHES = ("-", "--", ":", "-.", (0, (4, 4)), (0, (8, 2)), (0, (1, 3)))
_INK = "#222222"
_BORDER = "#d5dade"
_LETTERS = 34
_PANELS_A_ROW = 3


def write_figures(drawn: Iterable[Drawn], folder: Path) -> list[Path]:
    """Write each figure as `<key>.png` and `<key>.pdf`, or `<key>.svg` as it is; the same facts give the same bytes.

    Returns:
        The files written.

    Raises:
        DataError: the folder or a file cannot be written.
    """
    make_folder(folder)
    written = []
    for one in drawn:
        if isinstance(one.figure, Ready):
            with whole_file(folder / f"{one.key}.svg") as partial:
                partial.write_bytes(one.figure.svg)
            written.append(folder / f"{one.key}.svg")
            continue
        canvas = plot(one.figure)
        for ending in ("png", "pdf"):
            # A PDF bears its date unless it is told not to.
            dateless: dict[str, Any] = {"CreationDate": None} if ending == "pdf" else {}
            with whole_file(folder / f"{one.key}.{ending}") as partial:
                canvas.savefig(partial, format=ending, dpi=DPI, bbox_inches="tight", metadata=dateless)
            written.append(folder / f"{one.key}.{ending}")
    return written


def plot(figure: Boxes | Chart | Matrix) -> Canvas:
    """Return `figure` as matplotlib draws it; no window, no global state."""
    if isinstance(figure, Boxes):
        canvas = _boxes(figure)
    else:
        canvas = _chart(figure) if isinstance(figure, Chart) else _matrix(figure)
    FigureCanvasAgg(canvas)
    return canvas


def _rgb(index: int) -> tuple[float, float, float]:
    red, green, blue = model_colour(index)
    return red / 255, green / 255, blue / 255


def _lines_of(name: str) -> str:
    return "\n".join(wrapped(name, _LETTERS))


def _boxes(figure: Boxes) -> Canvas:
    rows = [(series, place) for series, place in zip(_flat(figure), _places(figure), strict=True)]
    height = figure.row_px / 75 * (max((place for _, place in rows), default=0) + 1) + 0.8
    canvas = Canvas(figsize=(7.5, height))
    axes = canvas.add_subplot()
    for series, place in rows:
        _box(axes, series, place)
    labelled = [(series, place) for series, place in rows if series.label]
    axes.set_yticks([place for _, place in labelled], [_lines_of(series.label) for series, _ in labelled])
    axes.set_ylim(max((place for _, place in rows), default=0) + 0.8, -0.8)
    axes.set_xlim(*figure.axis.span(figure.values))
    axes.set_xlabel(figure.axis.name)
    axes.grid(axis="x", alpha=0.4)
    if figure.zero_line:
        axes.axvline(0, color=_INK, linewidth=1)
    return canvas


def _flat(figure: Boxes) -> list[Series]:
    return [series for group in figure.groups for series in group]


def _places(figure: Boxes) -> list[float]:
    places, here = [], 0.0
    for group in figure.groups:
        places += [here + i for i in range(len(group))]
        here += len(group) + 0.5
    return places


def _box(axes: Axes, series: Series, place: float) -> None:
    values = [value for _, value in series.there]
    colour = _rgb(series.colour_index)
    if len(values) >= FEWEST_FOR_A_BOX:
        box = Box.of(values)
        axes.hlines(place, box.low, box.high, color=_INK, linewidth=1)
        axes.barh(place, box.third - box.first, left=box.first, height=0.6, color=(*colour, 0.45), edgecolor=_INK)
        axes.vlines(box.median, place - 0.3, place + 0.3, color=_INK, linewidth=2)
    axes.plot(
        values, [place] * len(values), _MARKERS[series.colour_index % len(_MARKERS)], color=colour, markersize=3.5,
        markeredgecolor=_INK, markeredgewidth=0.4, alpha=0.8,
    )  # fmt: skip
    if series.mean is not None:
        mean, low, high = series.mean.mean, series.mean.low, series.mean.high
        error = None if math.isnan(low) else [[mean - low], [high - mean]]
        axes.errorbar(mean, place + 0.42, xerr=error, fmt="|", color="black", linewidth=1.8, markersize=7)


def _chart(figure: Chart) -> Canvas:
    columns = min(_PANELS_A_ROW, max(1, len(figure.panels)))
    rows = max(1, math.ceil(len(figure.panels) / columns))
    canvas = Canvas(figsize=(3.6 * columns, 2.9 * rows + 0.6), layout="constrained")
    for i, panel in enumerate(figure.panels):
        _panel(canvas.add_subplot(rows, columns, i + 1), panel)
    named = {str(line.get_label()): line for axes in canvas.axes for line in axes.lines}
    if named:
        places = {"loc": "outside lower center", "ncols": min(3, len(named)), "fontsize": 8}
        canvas.legend(list(named.values()), list(named), **places)
    return canvas


def _panel(axes: Axes, panel: Panel) -> None:
    for line in panel.lines:
        _line(axes, line)
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.set_xlabel(panel.x.name, fontsize=8)
    axes.set_ylabel(panel.y.name, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.4)
    points = [point for line in panel.lines for point in line.points]
    _scale(axes.xaxis, panel.x, [point.x for point in points])
    _scale(axes.yaxis, panel.y, [value for point in points for value in (point.y, point.low, point.high)])


def _scale(drawn: XAxis | YAxis, axis: Axis, values: list[float]) -> None:
    """Give an axis the ends and the ticks that it has on the page."""
    scale = Scale.of(axis, values, start_px=0, end_px=1)
    set_scale = drawn.axes.set_xscale if drawn.axis_name == "x" else drawn.axes.set_yscale
    set_limits = drawn.axes.set_xlim if drawn.axis_name == "x" else drawn.axes.set_ylim
    set_scale("log" if axis.log else "linear")
    margin = 0.0 if axis.log else 0.03 * (scale.high - scale.low)
    set_limits(scale.low - margin, scale.high + margin)
    drawn.set_ticks([tick for tick, _ in scale.ticks()], [text for _, text in scale.ticks()])
    drawn.set_minor_locator(NullLocator())


def _line(axes: Axes, line: Line) -> None:
    style = _DASHES[line.colour_index % len(_DASHES)] if len(line.points) > 1 else "none"
    marker, colour = _MARKERS[line.colour_index % len(_MARKERS)], _rgb(line.colour_index)
    x, y = [point.x for point in line.points], [point.y for point in line.points]
    axes.plot(
        x, y, linestyle=style, marker=marker, color=colour, label=line.name, markersize=5, markeredgecolor=_INK,
        markevery=line.marked,
    )  # fmt: skip
    for point in line.points:
        if math.isfinite(point.low + point.high):
            axes.vlines(point.x, point.low, point.high, color=colour, linewidth=1.5)


def _matrix(figure: Matrix) -> Canvas:
    few = figure.has_wide_cells
    wide, high = (0.95, 0.4) if few else (0.36, 0.28)
    canvas = Canvas(figsize=(wide * len(figure.columns) + 2.2, high * len(figure.rows) + 1.4))
    axes = canvas.add_subplot()
    colours = [[tuple(v / 255 for v in shade(0 if math.isnan(s) else s)) for s in row] for row in figure.shares]
    axes.imshow(colours, aspect="auto")
    for i, row in enumerate(figure.texts):
        for j, text in enumerate(row):
            ink = "white" if figure.is_dark(i, j) else _INK
            if text:
                axes.text(j, i, text, ha="center", va="center", fontsize=8 if few else 6, color=ink)
    names = [_lines_of(name) for name in figure.columns]
    turned = 0 if few and max(map(len, names), default=0) < 14 else 90
    axes.set_xticks(range(len(names)), names, rotation=turned, fontsize=8)
    axes.set_yticks(range(len(figure.rows)), [_lines_of(name) for name in figure.rows], fontsize=8)
    axes.xaxis.tick_top()
    axes.set_xticks([j - 0.5 for j in range(len(names) + 1)], minor=True)
    axes.set_yticks([i - 0.5 for i in range(len(figure.rows) + 1)], minor=True)
    axes.grid(which="minor", color=_BORDER, linewidth=0.7)
    axes.tick_params(which="minor", length=0)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(figure.column_axis, fontsize=9)
    axes.set_ylabel(figure.row_axis, fontsize=9)
    return canvas
