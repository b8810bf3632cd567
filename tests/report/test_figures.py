"""Figures say what they should: counted in the SVG, and in what matplotlib draws."""

from __future__ import annotations

import itertools
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_spine_ext.report.blocks import Drawn
from nnunet_spine_ext.report.charts.axes import Scale
from nnunet_spine_ext.report.charts.figures import Axis, Box, Boxes, Chart, Interval, Line, Matrix, Panel, Point, Series
from nnunet_spine_ext.report.charts.marks import DASHES, mark, pieces, wrapped
from nnunet_spine_ext.report.charts.plots import plot, write_figures
from nnunet_spine_ext.report.charts.svg import draw
from nnunet_spine_ext.report.palette import model_colour, shade

NAN = math.nan
LONG = "SpineASPPUNetPaperTrainer__SpineASPPUNetPlans__3d_lowres_with_a_long_name"


def series(name: str, *values: float, index: int = 0, mean: Interval | None = None) -> Series:
    cases = tuple((f"c{i}", value) for i, value in enumerate(values))
    return Series(label=name, values=cases, colour_index=index, name=name, mean=mean)


BOXES = Boxes(
    title="t",
    axis=Axis(name="x", high=1.0),
    groups=(
        (
            series("A&B", 0.5, NAN, 0.75),
            series("B", *(0.1 * i for i in range(6)), index=1, mean=Interval(mean=0.25, low=0.2, high=0.3)),
        ),
        (series("none", NAN),),
    ),
)
CHART = Chart(
    title="curves",
    panels=(
        Panel(
            title="noise <k>",
            x=Axis(name="k"),
            y=Axis(name="Dice"),
            lines=(
                Line(name="A", colour_index=0, points=(Point(x=0, y=0.9), Point(x=10, y=0.8), Point(x=90, y=0.4))),
                Line(name="B", colour_index=1, points=(Point(x=0, y=0.8), Point(x=10, y=NAN), Point(x=90, y=0.2))),
            ),
        ),
        Panel(
            title="cost",
            x=Axis(name="M", log=True),
            y=Axis(name="Dice"),
            lines=(Line(name="A", colour_index=0, points=(Point(x=17.5, y=0.9, low=0.8, high=0.95),)),),
        ),
    ),
)
MATRIX = Matrix(
    title="confusion",
    row_axis="reference",
    column_axis="prediction",
    rows=("S", "L<5"),
    columns=("S", "L<5"),
    shares=((0.9, 0.1), (NAN, 0.0)),
    texts=(("90", "10"), ("", "")),
    tips=(("S called S", "S called L5"), ("", "")),
)


class Marks(HTMLParser):
    """Counts tags, and checks that they nest."""

    def __init__(self, svg: str) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.open: list[str] = []
        self.feed(svg)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_box_ends_at_the_last_value_within_the_reach() -> None:
    # Quartiles 2, 3, 4: reach 3 below 2 and above 4, so 8 is outside.
    assert Box.of([1.0, 2.0, 3.0, 4.0, 8.0]) == Box(low=1.0, first=2.0, median=3.0, third=4.0, high=4.0)


def test_boxes_have_a_mark_per_value_and_say_where_there_is_none() -> None:
    svg = str(draw(BOXES))
    assert Marks(svg).count["path"] == 2 + 6
    assert svg.count('class="box"') == 1  # five values are the fewest for a box
    assert svg.count('class="mean"') == 1
    assert "c2: 0.750" in svg
    assert "c1" not in re.findall(r"A&amp;B, (c\d)", svg)
    assert "A&amp;B" in svg
    assert svg.count("no value") == 1


def test_of_many_values_only_the_outliers_are_marks() -> None:
    many = series("A", *([0.5] * 70), 0.0)
    assert Marks(str(draw(Boxes(title="t", axis=Axis(name="x"), groups=((many,),))))).count["path"] == 1


def test_marks_lie_where_the_axis_says() -> None:
    scale = Scale.of(Axis(name="x", low=0.0, high=1.0), [0.3], start_px=100, end_px=200)
    assert [scale.at(v) for v in (0.0, 0.25, 1.0)] == pytest.approx([100, 125, 200])
    log = Scale.of(Axis(name="x", low=1.0, high=100.0, log=True), [], start_px=0, end_px=200)
    assert [log.at(v) for v in (1, 10, 100)] == pytest.approx([0, 100, 200])
    assert [text for _, text in log.ticks()] == ["1", "2", "5", "10", "20", "50", "100"]
    downward = Scale.of(Axis(name="y", low=0.0, high=1.0), [], start_px=200, end_px=100)
    assert downward.at(0.9) == pytest.approx(110)


@pytest.mark.parametrize("values", [[0.52, 0.87], [-0.3, 0.1], [0.0, 1.0], [3.0, 41.0], [0.5], [], [0.7, 0.7001]])
def test_axis_holds_all_values_and_has_ticks(values: list[float]) -> None:
    scale = Scale.of(Axis(name="x"), values, start_px=0, end_px=100)
    assert all(scale.low <= value <= scale.high for value in values)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 11
    assert len({text for _, text in ticks}) == len(ticks)
    assert all(float(text.replace("−", "-")) == pytest.approx(tick) for tick, text in ticks)


def test_chart_has_a_mark_per_point_a_line_per_model_and_a_bar_per_interval() -> None:
    svg = str(draw(CHART))
    counted = Marks(svg).count
    assert counted["svg"] == 2
    assert counted["path"] == 3 + 2 + 1  # NaN is no point
    assert counted["polyline"] == 2
    assert svg.count('class="bar"') == 1
    assert "A, 90: 0.400" in svg
    assert "noise &lt;k&gt;" in svg


def test_matrix_has_a_cell_per_pair_and_its_numbers() -> None:
    svg = str(draw(MATRIX))
    assert Marks(svg).count["rect"] == 4
    assert ">90<" in svg
    assert "S called L5" in svg
    assert "L&lt;5" in svg
    assert 'class="light"' in svg  # the dark cell is written in white
    assert svg.count('class="light"') == 1


def test_models_differ_without_colour() -> None:
    shapes = {re.sub(r"^<path d=\"M[-\d. ]+?(?=[a-z])", "", mark(i, 0, 0, radius=10)) for i in range(7)}
    assert len(shapes) == 7
    assert len(set(DASHES)) == 7
    assert len({model_colour(i) for i in range(14)}) == 14


def test_shades_get_darker_evenly() -> None:
    weights = (0.2126, 0.7152, 0.0722)
    luminance = [sum(w * v for w, v in zip(weights, shade(i / 10), strict=True)) for i in range(11)]
    steps = [high - low for high, low in itertools.pairwise(luminance)]
    assert min(steps) > 0.8 * max(steps) > 0


def test_long_names_are_broken_at_underscores() -> None:
    lines = wrapped(LONG, 34)
    assert "".join(lines) == LONG
    assert lines == ["SpineASPPUNetPaperTrainer__", "SpineASPPUNetPlans__", "3d_lowres_with_a_long_name"]
    assert wrapped("stock nnU-Net", 34) == ["stock nnU-Net"]
    assert wrapped("SpineDeepLabV3Plus 3d_fullres", 20) == ["SpineDeepLabV3Plus", "3d_fullres"]


@given(st.text(alphabet="aB _-/\n\r\u2028.", max_size=60), st.integers(1, 20))
def test_nothing_of_a_name_is_lost_in_breaking_it(text: str, letters: int) -> None:
    assert "".join(pieces(text, letters)) == text


def test_matplotlib_draws_the_same_facts() -> None:
    (boxes,) = plot(BOXES).axes
    drawn = [line for line in boxes.lines if line.get_marker() in ("o", "s", "^")]
    assert [list(line.get_xdata()) for line in drawn] == [[0.5, 0.75], pytest.approx([0.1 * i for i in range(6)]), []]
    assert len(boxes.patches) == 1
    noise, cost = plot(CHART).axes
    assert [len(line.get_xdata()) for line in noise.lines] == [3, 3]
    assert cost.get_xscale() == "log"
    assert len(cost.collections) == 1
    (matrix,) = plot(MATRIX).axes
    assert sorted(text.get_text() for text in matrix.texts) == ["10", "90"]


def test_figures_are_written_as_png_and_pdf_the_same_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnunet_spine_ext.report.charts.plots.DPI", 30)
    drawn = [Drawn(key=k, figure=f, caption="") for k, f in (("boxes", BOXES), ("chart", CHART), ("matrix", MATRIX))]
    files = write_figures(drawn, tmp_path / "one")
    assert sorted(f.name for f in files) == sorted(f"{d.key}.{e}" for d in drawn for e in ("pdf", "png"))
    assert all(f.read_bytes()[:4] in (b"\x89PNG", b"%PDF") for f in files)
    again = write_figures(drawn, tmp_path / "two")
    assert [f.read_bytes() for f in files] == [f.read_bytes() for f in again]
    assert plt.get_fignums() == []  # nothing is left behind in pyplot
