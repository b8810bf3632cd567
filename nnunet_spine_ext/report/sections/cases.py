"""All cases: the mean Dice of each, the worst first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnunet_spine_ext.report.analysis import RANKED_BY, Analysis
from nnunet_spine_ext.report.blocks import Fold, Section
from nnunet_spine_ext.report.numbers import shown
from nnunet_spine_ext.report.results import Results
from nnunet_spine_ext.report.sheets import Cell, Column, Sheet, name_cell


def cases_section(analysis: Analysis) -> Section:
    """Return the section."""
    results = analysis.results
    sheet = Sheet(
        key="cases",
        caption=f"{results.dataset}: mean Dice of each case",
        columns=(
            Column(key="case", heading="Case", numeric=False),
            *(Column(key=model, heading=model, model=i) for i, model in enumerate(results.models)),
        ),
        rows=tuple(
            (name_cell(case), *(Cell(text=shown(score, analysis.metric), values=(score,)) for score in scores))
            for case, scores in worst_first(results)
        ),
    )
    return Section(key="cases", title="All cases", blocks=(Fold(heading=sheet.caption, blocks=(sheet,)),))


def worst_first(results: Results) -> list[tuple[str, tuple[float, ...]]]:
    """Return every case with each model's mean Dice over its structures, the worst case (mean over models) first."""
    means = [results.case_means(model=model, metric=RANKED_BY) for model in results.models]
    rows = [(case, tuple(float(mean.get(case, math.nan)) for mean in means)) for case in results.cases]
    return sorted(rows, key=lambda row: (_mean_or_infinity(row[1]), row[0]))


def _mean_or_infinity(values: Sequence[float]) -> float:
    there = [value for value in values if not math.isnan(value)]
    return sum(there) / len(there) if there else math.inf
