"""Paired differences: case by case, against the baseline and between all models."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_spine_ext.evaluation.statistics_pairs import LEVEL, PairedTest
from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.blocks import Block, Drawn, Fold, Section, Words
from nnunet_spine_ext.report.charts.figures import Axis, Boxes, Interval, Series
from nnunet_spine_ext.report.numbers import interval, p_value, shown
from nnunet_spine_ext.report.sheets import MODEL, Cell, Column, Sheet, count_cell, fixed, name_cell

_ALL_DRAWN = 6
"""So many pairs are drawn where there is no baseline."""
_TEST_COLUMNS = (
    Column(key="p", heading="p"),
    Column(key="p_holm", heading="p adjusted"),
    Column(key="rank_biserial", heading="Effect", hint="rank-biserial correlation, −1 to 1"),
    Column(key="verdict", heading="Verdict", numeric=False),
)


def pairs_section(analysis: Analysis) -> Section | None:
    """Return the section; None for a single model."""
    if not analysis.pairs:
        return None
    baseline = analysis.comparison.baseline
    drawn = analysis.against_baseline or analysis.pairs[:_ALL_DRAWN]
    blocks: list[Block] = [Words(lines=(_opening(analysis),))]
    if analysis.scores.cases:
        blocks.append(_boxes(analysis, drawn))
    everything = _sheet(analysis, analysis.pairs, key="statistics_all_pairs", family="all pairs")
    if baseline is None:
        blocks.append(everything)
    else:
        blocks += [
            _against(analysis, baseline),
            Fold(heading="All pairs of models", blocks=(everything,)),
        ]
    return Section(key="pairs", title="Paired differences", blocks=tuple(blocks))


def _opening(analysis: Analysis) -> str:
    said = (
        "Mean Dice of each case, second model minus first, on the cases that all models have. p is of Wilcoxon's "
        "signed-rank test, two-sided; adjusted is Holm's correction over the rows of its table."
    )
    if analysis.comparison.baseline is None:
        return f"{said} No baseline is named, so every two models are compared."
    return said


def _boxes(analysis: Analysis, tests: Sequence[PairedTest]) -> Drawn:
    rows = tuple(_series(analysis, test, against=bool(analysis.against_baseline)) for test in tests)
    baseline = analysis.comparison.baseline
    name = f"difference of mean Dice from {baseline}" if baseline else "difference of mean Dice, second minus first"
    return Drawn(
        key="differences",
        figure=Boxes(
            title="Paired differences of mean Dice, case by case",
            axis=Axis(name=name),
            groups=(rows,),
            row_px=40,
            zero_line=True,
            signed=True,
        ),
        caption=(
            "A mark is a case, to the right of the line where the second model is better. The dark bar is the mean "
            "difference with its 95 % bootstrap interval."
        ),
    )


def _series(analysis: Analysis, test: PairedTest, *, against: bool) -> Series:
    scores = analysis.scores
    difference = scores.values[:, scores.column(test.second)] - scores.values[:, scores.column(test.first)]
    name = f"{test.second} − {test.first}"
    return Series(
        label=test.second if against else name,
        values=tuple(zip(scores.cases, difference.tolist(), strict=True)),
        colour_index=analysis.index(test.second),
        name=name,
        mean=Interval(mean=test.mean_difference, low=test.ci_low, high=test.ci_high),
    )


def _sheet(analysis: Analysis, tests: Sequence[PairedTest], *, key: str, family: str) -> Sheet:
    return Sheet(
        key=key,
        caption=f"{analysis.results.dataset}: paired differences of mean Dice (95 % bootstrap interval), {family}",
        columns=(
            Column(key="first", heading="First", numeric=False),
            Column(key="second", heading="Second", numeric=False),
            Column(key="difference", heading="Difference", parts=("mean", "ci_low", "ci_high")),
            Column(key="second_better", heading="Second better"),
            Column(key="equal", heading="Equal"),
            Column(key="first_better", heading="First better"),
            *_TEST_COLUMNS,
        ),
        rows=tuple(
            (
                name_cell(test.first, model=analysis.index(test.first)),
                name_cell(test.second, model=analysis.index(test.second)),
                *_numbers(analysis, test),
                name_cell(_verdict(test, better=f"{test.second} is better", worse=f"{test.first} is better")),
            )
            for test in tests
        ),
    )


def _against(analysis: Analysis, baseline: str) -> Sheet:
    return Sheet(
        key="statistics",
        caption=f"{analysis.results.dataset}: mean Dice minus that of {baseline}, paired (95 % bootstrap interval)",
        columns=(
            MODEL,
            Column(key="difference_from_baseline", heading="Difference", parts=("mean", "ci_low", "ci_high")),
            Column(key="better", heading="Cases better"),
            Column(key="equal", heading="Equal"),
            Column(key="worse", heading="Worse"),
            *_TEST_COLUMNS,
        ),
        rows=tuple(
            (
                name_cell(test.second, model=analysis.index(test.second)),
                *_numbers(analysis, test),
                name_cell(_verdict(test, better="better than the baseline", worse="worse than the baseline")),
            )
            for test in analysis.against_baseline
        ),
    )


def _numbers(analysis: Analysis, test: PairedTest) -> tuple[Cell, ...]:
    metric = analysis.metric
    return (
        Cell(
            text=shown(test.mean_difference, metric, sign=True),
            values=(test.mean_difference, test.ci_low, test.ci_high),
            below=interval(test.ci_low, test.ci_high, metric, sign=True),
        ),
        *(count_cell(n) for n in (test.second_higher, test.equal, test.first_higher)),
        Cell(text=p_value(test.p), values=(test.p,)),
        Cell(text=p_value(test.p_holm), values=(test.p_holm,)),
        Cell(text=fixed(test.rank_biserial, 2, sign=True), values=(test.rank_biserial,)),
    )


def _verdict(test: PairedTest, *, better: str, worse: str) -> str:
    if not test.p_holm < LEVEL:
        return "no difference shown"
    return better if test.rank_biserial > 0 else worse
