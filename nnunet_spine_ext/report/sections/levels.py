"""Levels of the spine: whether every vertebra and disc is found, and under its own name."""

from __future__ import annotations

import math

from nnunet_spine_ext.evaluation.metrics import LEVEL_CASE_METRICS, LEVEL_METRICS, METRICS
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES
from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.blocks import Block, Drawn, Fold, Section, Words
from nnunet_spine_ext.report.charts.figures import Matrix
from nnunet_spine_ext.report.results import Results, Spread
from nnunet_spine_ext.report.sections.summary import MEAN_PARTS, mean_cells
from nnunet_spine_ext.report.sheets import MODEL, Cell, Column, Sheet, fixed, name_cell

LEVEL_KEYS = frozenset(metric.key for metric in LEVEL_METRICS)
_MOST_CASES = 20


def levels_section(analysis: Analysis) -> Section | None:
    """Return the section; None if no structure is a level, or levels were not measured."""
    results = analysis.results
    named = [s for s in results.structures if results.is_measured(label=s, metric="identified")]
    if not named:
        return None
    said = (
        *(f"{metric.title}: {metric.definition}." for metric in (METRICS["identified"], METRICS["shifted_structures"])),
        "A label shift, the right shape under a neighbour's name, ruins every structure at once: one case of it costs "
        "more Dice than all borders together.",
    )
    blocks: list[Block] = [
        Words(lines=said),
        _sheet(analysis),
        Drawn(
            key="identified",
            figure=_matrix(results, named),
            caption="Share of the cases with the structure in which it is identified.",
        ),
    ]
    shifted = _shifted(results)
    if shifted.rows:
        blocks.append(
            Fold(heading="Cases with a label shift", blocks=(shifted,), is_open=len(shifted.rows) <= _MOST_CASES)
        )
    return Section(key="levels", title="Vertebrae and discs", blocks=tuple(blocks))


def _sheet(analysis: Analysis) -> Sheet:
    rate, number, _ = LEVEL_CASE_METRICS
    rates, numbers = (mean_cells(analysis, metric, label=ALL_STRUCTURES) for metric in (rate, number))
    rows = []
    for i, model in enumerate(analysis.results.models):
        values = analysis.results.values(model=model, label=ALL_STRUCTURES, metric=number.key).dropna()
        cases = Cell(text=f"{int((values > 0).sum())} of {values.size}", values=(int((values > 0).sum()), values.size))
        rows.append((name_cell(model, model=i), rates[i], numbers[i], cases))
    return Sheet(
        key="levels",
        caption=f"{analysis.results.dataset}: vertebrae and discs, mean ± SD over cases (95 % bootstrap interval)",
        columns=(
            MODEL,
            Column(key=rate.key, heading=rate.title, parts=MEAN_PARTS),
            Column(key=number.key, heading=f"{number.title} a case", parts=MEAN_PARTS),
            Column(key="cases_with_shift", heading="Cases with a shift", parts=("", "of")),
        ),
        rows=tuple(rows),
    )


def _matrix(results: Results, named: list[str]) -> Matrix:
    found = [[Spread.of(results.values(model=m, label=s, metric="identified")) for s in named] for m in results.models]
    return Matrix(
        title="Share of structures identified",
        row_axis="",
        column_axis="structure (per cent of its cases)",
        rows=results.models,
        columns=tuple(named),
        shares=tuple(tuple(one.mean for one in row) for row in found),
        texts=tuple(tuple("–" if math.isnan(one.mean) else f"{one.mean * 100:.0f}" for one in row) for row in found),
        tips=tuple(
            tuple(
                f"{model}, {s}: {one.mean:.0%} of {one.n} cases" if one.n else ""
                for s, one in zip(named, row, strict=True)
            )
            for model, row in zip(results.models, found, strict=True)
        ),
    )


def _shifted(results: Results) -> Sheet:
    """Return the cases in which a structure bears another's name, those with most of them first."""
    rows: list[tuple[float, str, tuple[Cell, ...]]] = []
    for i, model in enumerate(results.models):
        numbers = results.values(model=model, label=ALL_STRUCTURES, metric="shifted_structures")
        common = results.values(model=model, label=ALL_STRUCTURES, metric="common_shift")
        for case, number in numbers.items():
            if not number > 0:
                continue
            shift = float(common.get(case, math.nan))
            count = Cell(text=f"{number:g}", values=(float(number),))
            by = Cell(text=fixed(shift, 0, sign=True), values=(shift,))
            rows.append((-float(number), str(case), (name_cell(str(case)), name_cell(model, model=i), count, by)))
    return Sheet(
        key="label_shifts",
        caption=f"{results.dataset}: cases with a label shift; + is towards the head",
        columns=(
            Column(key="case", heading="Case", numeric=False),
            MODEL,
            Column(key="shifted_structures", heading="Shifted structures"),
            Column(key="common_shift", heading="Common shift (levels)"),
        ),
        rows=tuple(row for _, _, row in sorted(rows, key=lambda row: row[:2])),
    )
