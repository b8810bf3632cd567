"""What the curves of the report have in common: scores at each step, lines of models, and the numbers as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from nnunet_spine_ext.evaluation.metrics import Metric
from nnunet_spine_ext.evaluation.structures import GROUPS
from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.charts.figures import Line, Point
from nnunet_spine_ext.report.numbers import SPREAD_PARTS, spread_cell
from nnunet_spine_ext.report.results import Spread
from nnunet_spine_ext.report.sheets import Cell, Column, Sheet, name_cell


def case_scores(table: pd.DataFrame, steps: Sequence[str], metric: Metric) -> pd.DataFrame:
    """Return one value per model, step and case: the mean over its structures (and folds and seeds)."""
    rows = table[(table["metric"] == metric.key) & ~table["label"].isin(GROUPS)]
    scores: pd.DataFrame = rows.groupby(["model", *steps, "case"], sort=False)["value"].mean().reset_index()
    return scores


def lines_of(analysis: Analysis, scores: pd.DataFrame, step: str) -> tuple[Line, ...]:
    """Return a line for each model: the mean over cases at every value of the column `step`."""
    lines = []
    for i, model in enumerate(analysis.results.models):
        groups = scores[scores["model"] == model].groupby(step)["value"]
        points = tuple(Point(x=float(x), y=Spread.of(values).mean) for x, values in _in_order(groups))
        if points:
            lines.append(Line(name=model, colour_index=i, points=points))
    return tuple(lines)


def _in_order(groups: Iterable[tuple[object, pd.Series[float]]]) -> list[tuple[float, pd.Series[float]]]:
    return sorted(((float(str(x)), values) for x, values in groups), key=lambda pair: pair[0])


def curve_sheet(analysis: Analysis, scores: pd.DataFrame, steps: list[str], metric: Metric, *, key: str) -> Sheet:
    """Return mean ± SD over cases at every step, a column for each model."""
    models = [model for model in analysis.results.models if (scores["model"] == model).any()]
    places = list(dict.fromkeys(scores[steps].itertuples(index=False, name=None)))
    found = {
        (keys[0], tuple(keys[1:])): Spread.of(values)
        for keys, values in scores.groupby(["model", *steps], sort=False)["value"]
    }
    nothing = Spread.of(())
    rows = []
    for place in places:
        spreads = [found.get((model, place), nothing) for model in models]
        rows.append((*(_step(value) for value in place), *(spread_cell(spread, metric) for spread in spreads)))
    return Sheet(
        key=key,
        caption=f"{analysis.results.dataset}: mean Dice ± SD over cases",
        columns=(
            *(Column(key=step, heading=step.capitalize(), numeric=step != "perturbation") for step in steps),
            *(Column(key=m, heading=m, model=analysis.index(m), parts=SPREAD_PARTS) for m in models),
        ),
        rows=tuple(rows),
    )


def _step(value: object) -> Cell:
    return name_cell(value) if isinstance(value, str) else Cell(text=f"{value:g}", values=(float(str(value)),))
