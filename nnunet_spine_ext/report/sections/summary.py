"""Summary: accuracy, rank and costs of every model in one row, and a box of its cases."""

from __future__ import annotations

import math

from nnunet_spine_ext.evaluation.metrics import METRICS, Metric
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES, UNION
from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.blocks import Block, Drawn, Fold, Section, Words
from nnunet_spine_ext.report.charts.figures import Axis, Boxes, Interval, Series
from nnunet_spine_ext.report.costs import IN_SUMMARY, Costs
from nnunet_spine_ext.report.numbers import headed, interval, shown, with_sd, worth
from nnunet_spine_ext.report.results import Values
from nnunet_spine_ext.report.sheets import MODEL, NOTHING, Cell, Column, Sheet, count_cell, name_cell, with_best

MEAN_PARTS = ("mean", "sd", "ci_low", "ci_high", "n")
"""What the values of `mean_cells` are."""
_DISTANCES = ("hd95_surfel_mm", "hd95_voxel_mm", "assd_mm")
_FURTHER: tuple[tuple[str | None, str], ...] = (
    (None, "iou"),
    (None, "sensitivity"),
    (None, "ppv"),
    (None, "specificity"),
    (None, "accuracy"),
    (UNION, "dice"),
    (ALL_STRUCTURES, "challenge_dice"),
)
_TITLES = {(UNION, "dice"): "Dice of the union"}


def summary_section(analysis: Analysis) -> Section:
    """Return the first section of the page."""
    blocks: list[Block] = [
        Words(
            lines=(
                "Mean ± standard deviation over cases, below it the 95 % bootstrap interval of the mean. A case counts "
                "with its mean over the structures in it. The rank is by mean Dice on the cases that all models have, "
                "below it where the rank lies in 95 % of the resamples. ★ marks the best mean, not a proof: see the "
                "paired differences.",
            )
        ),
        _summary(analysis),
        _boxes(analysis),
    ]
    further = _further(analysis)
    if len(further.columns) > 1:
        blocks.append(Fold(heading="Further metrics", blocks=(further,)))
    return Section(key="summary", title="Summary", blocks=tuple(blocks))


def mean_cells(analysis: Analysis, metric: Metric, *, label: str | None = None) -> list[Cell]:
    """Return mean, SD and interval over cases of `metric` for each model, the best marked.

    Args:
        analysis: of the comparison.
        metric: of structures, or of whole cases.
        label: None for a case's mean over its structures.
    """
    found = [analysis.summary(model, metric=metric.key, label=label) for model in analysis.results.models]
    cells = [
        Cell(
            text=shown(one.mean, metric),
            values=(one.mean, one.sd, one.ci_low, one.ci_high, one.cases),
            small=with_sd(one.sd, metric),
            below=interval(one.ci_low, one.ci_high, metric),
        )
        for one in found
    ]
    return with_best(cells, [worth(one.mean, metric) for one in found])


def _summary(analysis: Analysis) -> Sheet:
    models, costs = analysis.results.models, Costs.of(analysis.comparison.costs)
    distances = [METRICS[key] for key in _DISTANCES if key in METRICS and METRICS[key] in analysis.results.metrics][:1]
    shares = [metric for metric in analysis.results.metrics if metric.key.startswith("nsd")][:1]
    metrics = [analysis.metric, *distances, *shares]
    quantities = costs.known(IN_SUMMARY)
    columns = [
        MODEL,
        Column(key=metrics[0].key, heading=headed(metrics[0]), parts=MEAN_PARTS),
        Column(key="rank", heading="Rank", parts=("", "ci_low", "ci_high")),
        *(Column(key=metric.key, heading=headed(metric), parts=MEAN_PARTS) for metric in metrics[1:]),
        *(Column(key=quantity.key, heading=quantity.heading) for quantity in quantities),
        Column(key="cases", heading="Cases"),
    ]
    means = [mean_cells(analysis, metric) for metric in metrics]
    rows = [
        (
            _model_cell(analysis, model),
            means[0][i],
            _rank_cell(analysis, i),
            *(column[i] for column in means[1:]),
            *(costs.cell(model, quantity) for quantity in quantities),
            count_cell(analysis.results.number_of_cases(model)),
        )
        for i, model in enumerate(models)
    ]
    return Sheet(
        key="summary",
        caption=f"{analysis.results.dataset}: mean ± SD over cases (95 % bootstrap interval), rank, costs",
        columns=tuple(columns),
        rows=tuple(rows),
    )


def _model_cell(analysis: Analysis, model: str) -> Cell:
    cell = name_cell(model, model=analysis.index(model))
    baseline = model == analysis.comparison.baseline
    return Cell(text=cell.text, values=cell.values, model=cell.model, below="baseline" if baseline else "")


def _rank_cell(analysis: Analysis, index: int) -> Cell:
    rank = analysis.ranks[index]
    values = (rank.rank, rank.ci_low, rank.ci_high)
    between = "" if rank.ci_low is None else f"{rank.ci_low} to {rank.ci_high}"
    return Cell(
        text=NOTHING if rank.rank is None else str(rank.rank),
        values=tuple(math.nan if value is None else value for value in values),
        below=between,
    )


def _further(analysis: Analysis) -> Sheet:
    """Return other overlap metrics, and how many values the means leave out."""
    results = analysis.results
    chosen = [(label, METRICS[key]) for label, key in _FURTHER if _is_there(analysis, label, key)]
    cells = [mean_cells(analysis, metric, label=label) for label, metric in chosen]
    rows = []
    for i, model in enumerate(results.models):
        left_out, values = results.left_out(model=model, metric=analysis.metric.key)
        counted = Cell(text=f"{left_out} of {values}", values=(left_out, values))
        rows.append((name_cell(model, model=i), *(column[i] for column in cells), counted))
    return Sheet(
        key="further_metrics",
        caption=f"{results.dataset}: further metrics, mean ± SD over cases (95 % bootstrap interval)",
        columns=(
            MODEL,
            *(
                Column(
                    key=_file_key(label, metric),
                    heading=_TITLES.get((label or "", metric.key), headed(metric)),
                    parts=MEAN_PARTS,
                )
                for label, metric in chosen
            ),
            Column(key="left_out", heading="Dice left out", parts=("", "of")),
        ),
        rows=tuple(rows),
    )


def _is_there(analysis: Analysis, label: str | None, key: str) -> bool:
    """Return whether a metric was measured; the union of a single structure is that structure, so it is left out."""
    if key not in METRICS or (label == UNION and len(analysis.results.structures) == 1):
        return False
    if label is None:
        return METRICS[key] in analysis.results.metrics
    return analysis.results.is_measured(label=label, metric=key)


def _file_key(label: str | None, metric: Metric) -> str:
    return f"union_{metric.key}" if label == UNION else metric.key


def _boxes(analysis: Analysis) -> Drawn:
    results, metric = analysis.results, analysis.metric
    rows = tuple(
        Series(
            label=model,
            values=_pairs(results.case_means(model=model, metric=metric.key)),
            colour_index=i,
            name=model,
            mean=_interval(analysis, model),
        )
        for i, model in enumerate(results.models)
    )
    return Drawn(
        key="cases",
        figure=Boxes(
            title="Mean Dice of every case, by model",
            axis=Axis(name="mean Dice of a case", high=1.0),
            groups=(rows,),
            row_px=40,
        ),
        caption=(
            "A mark is a case (its mean Dice over structures); the box holds the middle half, its line the median; the "
            "dark bar below it is the mean with its 95 % interval. Point at a mark for the case."
        ),
    )


def _interval(analysis: Analysis, model: str) -> Interval | None:
    found = analysis.summary(model, metric=analysis.metric.key)
    return None if math.isnan(found.mean) else Interval(mean=found.mean, low=found.ci_low, high=found.ci_high)


def _pairs(values: Values) -> tuple[tuple[str, float], ...]:
    return tuple((str(case), float(value)) for case, value in values.items())
