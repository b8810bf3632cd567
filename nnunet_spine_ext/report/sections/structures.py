"""Structures: every metric for each structure and model, and boxes of Dice."""

from __future__ import annotations

from nnunet_spine_ext.evaluation.metrics import Metric
from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.blocks import Block, Drawn, Fold, Section, Words
from nnunet_spine_ext.report.charts.figures import Axis, Boxes, Series
from nnunet_spine_ext.report.numbers import SPREAD_PARTS, headed, spread_cell, worth
from nnunet_spine_ext.report.results import Results, Spread
from nnunet_spine_ext.report.sections.levels import LEVEL_KEYS
from nnunet_spine_ext.report.sheets import Cell, Column, Sheet, name_cell, with_best


def structures_section(analysis: Analysis) -> Section:
    """Return the section."""
    results = analysis.results
    blocks: list[Block] = []
    if analysis.metric in results.metrics:
        blocks += [_words(analysis.metric), structure_sheet(results, analysis.metric), _boxes(results)]
    further = [metric for metric in results.metrics if metric != analysis.metric and metric.key not in LEVEL_KEYS]
    if further:
        folds = tuple(
            Fold(heading=headed(metric), blocks=(_words(metric), structure_sheet(results, metric)))
            for metric in further
        )
        heading = f"{len(further)} further metrics of every structure" if len(further) > 1 else "A further metric"
        blocks.append(Fold(heading=heading, blocks=folds))
    return Section(key="structures", title="Structures", blocks=tuple(blocks))


def _words(metric: Metric) -> Words:
    said = f"{metric.title}: {metric.definition}. Mean ± standard deviation over the cases with a value; n where that "
    return Words(lines=(f"{said}is not all.",))


def structure_sheet(results: Results, metric: Metric) -> Sheet:
    """Return mean ± SD over cases of `metric`, per structure and model; the last row may be the union of all."""
    cases = {model: results.number_of_cases(model) for model in results.models}
    return Sheet(
        key=f"structures_{metric.key}",
        caption=f"{results.dataset}: {headed(metric)} of each structure, mean ± SD over cases",
        columns=(
            Column(key="structure", heading="Structure", numeric=False),
            *(Column(key=m, heading=m, model=i, parts=SPREAD_PARTS) for i, m in enumerate(results.models)),
        ),
        rows=tuple(
            (name_cell(label), *_cells(results, label, metric, cases))
            for label in results.labels
            if results.is_measured(label=label, metric=metric.key)
        ),
    )


def _cells(results: Results, label: str, metric: Metric, cases: dict[str, int]) -> list[Cell]:
    """Return a cell for each model, the best marked."""
    spreads = [Spread.of(results.values(model=model, label=label, metric=metric.key)) for model in results.models]
    cells = [
        spread_cell(spread, metric, below=f"n = {spread.n}" if spread.n < cases[model] else "")
        for spread, model in zip(spreads, results.models, strict=True)
    ]
    return with_best(cells, [worth(spread.mean, metric) for spread in spreads])


def _boxes(results: Results) -> Drawn:
    groups = tuple(
        tuple(
            Series(
                label=structure if i == 0 else "",
                values=tuple(
                    (str(case), float(value))
                    for case, value in results.values(model=model, label=structure, metric="dice").items()
                ),
                colour_index=i,
                name=f"{structure}, {model}",
            )
            for i, model in enumerate(results.models)
        )
        for structure in results.structures
    )
    axis = Axis(name="Dice", high=1.0)
    return Drawn(
        key="structures",
        figure=Boxes(title="Dice by structure and model", axis=axis, groups=groups, row_px=16),
        caption="A mark is a case. Of more than 60 values in a row, only those outside the whiskers are drawn.",
        keys=True,
    )
