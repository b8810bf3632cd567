"""The tables of the report: models, structures, pairs of models, cases."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_spine_ext.evaluation.metrics import METRICS, Metric
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES, UNION
from nnunet_spine_ext.report.results import Results, Spread

_EQUAL = 1e-9
_MINUS = "\N{MINUS SIGN}"
_DECIMALS = {"": 3, "ml": 2, "mm": 2, "voxels": 0}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One result; `best` says that no model of its row (or column) is better."""

    spread: Spread
    metric: Metric
    best: bool = False

    @property
    def text(self) -> str:
        """Return mean ± SD."""
        mean = shown(self.spread.mean, self.metric)
        return mean if math.isnan(self.spread.sd) else f"{mean} ± {shown(self.spread.sd, self.metric)}"


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One model: how many cases, its results, how many values were left out."""

    model: str
    cases: int
    cells: tuple[Cell, ...]
    left_out: int
    values: int


@dataclass(frozen=True, kw_only=True)
class StructureTable:
    """One metric: a row per structure, a column per model; the last row may be the union of all."""

    metric: Metric
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two models on the cases that both have: `second` minus `first`, per-case mean Dice."""

    first: str
    second: str
    difference: Spread
    second_better: int
    first_better: int
    equal: int


def shown(value: float, metric: Metric, *, sign: bool = False) -> str:
    """Return a number as the report prints it, by the metric's unit; – for a value that is not there."""
    if math.isnan(value):
        return "–"
    return f"{value:{'+' if sign else ''},.{_DECIMALS[metric.unit]}f}".replace(",", "\N{THIN SPACE}").replace(
        "-", _MINUS
    )


_SUMMARY_COLUMNS: tuple[tuple[str, str | None, str], ...] = (
    ("Dice", None, "dice"),
    ("IoU", None, "iou"),
    ("Sensitivity", None, "sensitivity"),
    ("PPV", None, "ppv"),
    ("Specificity", None, "specificity"),
    ("Dice of the union", UNION, "dice"),
    ("Challenge score", ALL_STRUCTURES, "challenge_dice"),
)


def summary_columns(results: Results) -> list[tuple[str, str | None, str]]:
    """Return heading, label (None: the case's mean over its structures) and metric of the summary's columns.

    The union of a single structure is that structure, so it has no column of its own.
    """
    return [column for column in _SUMMARY_COLUMNS if column[1] != UNION or len(results.structures) > 1]


def summary(results: Results) -> list[ModelRow]:
    """Return one row per model: mean ± SD over cases of each of `summary_columns`."""
    columns = [
        _marked([Cell(spread=_over_cases(results, model, label, key), metric=METRICS[key]) for model in results.models])
        for _, label, key in summary_columns(results)
    ]
    rows = []
    for i, model in enumerate(results.models):
        left_out, values = results.left_out(model=model, metric="dice")
        cases = results.table.loc[results.table["model"] == model, "case"].nunique()
        cells = tuple(column[i] for column in columns)
        rows.append(ModelRow(model=model, cases=cases, cells=cells, left_out=left_out, values=values))
    return rows


def structure_table(results: Results, metric: Metric) -> StructureTable:
    """Return mean ± SD over cases of `metric`, per structure and model."""
    rows = []
    for label in _labels(results):
        spreads = [Spread.of(results.values(model=model, label=label, metric=metric.key)) for model in results.models]
        rows.append((label, tuple(_marked([Cell(spread=spread, metric=metric) for spread in spreads]))))
    return StructureTable(metric=metric, rows=tuple(rows))


def pairs(results: Results) -> list[Pair]:
    """Return every two models, compared case by case on per-case mean Dice."""
    means = {model: results.case_means(model=model, metric="dice") for model in results.models}
    found = []
    for first, second in itertools.combinations(results.models, 2):
        difference = (means[second] - means[first]).dropna()
        better, worse = int((difference > _EQUAL).sum()), int((difference < -_EQUAL).sum())
        found.append(
            Pair(
                first=first,
                second=second,
                difference=Spread.of(difference),
                second_better=better,
                first_better=worse,
                equal=len(difference) - better - worse,
            )
        )
    return found


def case_table(results: Results) -> list[tuple[str, tuple[float, ...]]]:
    """Return every case with each model's mean Dice over its structures, the worst case (mean over models) first."""
    means = [results.case_means(model=model, metric="dice") for model in results.models]
    rows = [(case, tuple(float(mean.get(case, math.nan)) for mean in means)) for case in results.cases]
    return sorted(rows, key=lambda row: (_mean_or_infinity(row[1]), row[0]))


def as_text(results: Results) -> str:
    """Return the means per structure and model for a terminal."""
    lines = []
    for model in results.models:
        heads = [METRICS[key].title for key in ("dice", "iou", "sensitivity", "ppv")]
        lines += [f"{model}, {results.dataset}", f"  {'':20}" + "".join(f"{head:>18}" for head in heads) + f"{'n':>6}"]
        for label in _labels(results):
            cells = [
                Cell(spread=Spread.of(results.values(model=model, label=label, metric=key)), metric=METRICS[key])
                for key in ("dice", "iou", "sensitivity", "ppv")
            ]
            lines.append(f"  {label:20}" + "".join(f"{cell.text:>18}" for cell in cells) + f"{cells[0].spread.n:>6}")
        score = Spread.of(results.values(model=model, label=ALL_STRUCTURES, metric="challenge_dice"))
        challenge = Cell(spread=score, metric=METRICS["challenge_dice"])
        lines.append(f"  {'challenge score':20}{challenge.text:>18}{'':54}{score.n:>6}")
    return "\n".join(lines)


def _labels(results: Results) -> tuple[str, ...]:
    """Return the structures and, if there are several, their union."""
    return (*results.structures, *([UNION] if len(results.structures) > 1 else []))


def _over_cases(results: Results, model: str, label: str | None, metric: str) -> Spread:
    if label is None:
        return Spread.of(results.case_means(model=model, metric=metric))
    return Spread.of(results.values(model=model, label=label, metric=metric))


def _marked(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells with the best of them marked, if there is a choice and a direction of good."""
    worth = [_worth(cell) for cell in cells]
    there = [value for value in worth if not math.isnan(value)]
    best = max(there, default=math.nan)
    if len(there) < 2 or max(there) == min(there):
        return list(cells)
    return [Cell(spread=c.spread, metric=c.metric, best=value == best) for c, value in zip(cells, worth, strict=True)]


def _worth(cell: Cell) -> float:
    mean = cell.spread.mean
    return {"higher": mean, "lower": -mean, "zero": -abs(mean), "neither": math.nan}[cell.metric.good]


def _mean_or_infinity(values: Sequence[float]) -> float:
    there = [value for value in values if not math.isnan(value)]
    return sum(there) / len(there) if there else math.inf
