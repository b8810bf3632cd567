"""Ranking: how stable it is, and who beats whom."""

from __future__ import annotations

import math

from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.evaluation.statistics_cd import critical_difference_svg
from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.blocks import Block, Drawn, Section, Words
from nnunet_spine_ext.report.charts.figures import Matrix, Ready
from nnunet_spine_ext.report.numbers import p_value, percent
from nnunet_spine_ext.report.sheets import MODEL, Cell, Column, Sheet, fixed, name_cell


def ranking_section(analysis: Analysis) -> Section | None:
    """Return the section; None for a single model, or without a case that all models have."""
    if len(analysis.scores.models) < 2 or not analysis.scores.cases:
        return None
    blocks: list[Block] = [
        Words(
            lines=(
                f"By mean Dice on the {len(analysis.scores.cases)} cases that all models have, ranked anew in "
                f"{len(analysis.scores.bootstrap_means):,} resamples of these cases.",
            )
        ),
        Drawn(
            key="ranks",
            figure=_ranks(analysis),
            caption="Share of resamples in which a model has a rank. A ranking to rely on is dark on one diagonal.",
        ),
        Drawn(
            key="significance",
            figure=_significance(analysis),
            caption=(
                f"Wilcoxon's signed-rank test on the same cases, p adjusted by Holm's procedure over all pairs. ✓: the "
                f"model of the row beats that of the column (adjusted p below {analysis.significance.level:g})."
            ),
        ),
        _sheet(analysis),
    ]
    diagram = _critical_difference(analysis)
    if diagram is not None:
        blocks.append(diagram)
    return Section(key="ranking", title="Ranking", blocks=tuple(blocks))


def _critical_difference(analysis: Analysis) -> Drawn | None:
    """Return the diagram; None without autorank, or with too few models or cases for it."""
    try:
        svg = critical_difference_svg(analysis.scores)
    except SpineExtError:
        return None
    return Drawn(
        key="critical_difference",
        figure=Ready(title="Critical-difference diagram", svg=svg),
        caption=(
            "Critical-difference diagram (Demšar 2006): mean ranks over cases; a bar joins models that Friedman's test "
            "with Nemenyi's post-hoc test cannot tell apart. It may differ from the paired tests, which compare two "
            "models at a time."
        ),
    )


def _best_first(analysis: Analysis) -> list[int]:
    ranks = analysis.ranks
    return sorted(range(len(ranks)), key=lambda i: (ranks[i].rank or 0, ranks[i].mean_rank, i))


def _ranks(analysis: Analysis) -> Matrix:
    order = [analysis.ranks[i] for i in _best_first(analysis)]
    places = range(1, len(order) + 1)
    return Matrix(
        title="Bootstrap distribution of ranks",
        row_axis="",
        column_axis="rank",
        rows=tuple(model.model for model in order),
        columns=tuple(str(place) for place in places),
        shares=tuple(model.shares for model in order),
        texts=tuple(tuple(_percent(share) for share in model.shares) for model in order),
        tips=tuple(
            tuple(f"{m.model}: rank {p} in {m.shares[p - 1]:.1%} of the resamples" for p in places) for m in order
        ),
    )


def _percent(share: float) -> str:
    if share == 0:
        return ""
    return "< 1 %" if share < 0.01 else percent(share)


def _significance(analysis: Analysis) -> Matrix:
    found, order = analysis.significance, _best_first(analysis)
    names = [f"{place}.\N{NO-BREAK SPACE}{found.models[i]}" for place, i in enumerate(order, start=1)]

    def share(i: int, j: int) -> float:
        return math.nan if i == j else 0.75 if found.beats[i][j] else 0.0

    def text(i: int, j: int) -> str:
        if i == j:
            return ""
        return ("✓ " if found.beats[i][j] else "") + p_value(found.p_holm[i][j])

    def tip(i: int, j: int) -> str:
        verb = "beats" if found.beats[i][j] else "does not beat"
        said = f"{found.models[i]} {verb} {found.models[j]}, adjusted p {p_value(found.p_holm[i][j])}"
        return "" if i == j else said

    return Matrix(
        title="Who beats whom",
        row_axis="",
        column_axis="against model",
        rows=tuple(names),
        columns=tuple(str(place) for place in range(1, len(names) + 1)),
        shares=tuple(tuple(share(i, j) for j in order) for i in order),
        texts=tuple(tuple(text(i, j) for j in order) for i in order),
        tips=tuple(tuple(tip(i, j) for j in order) for i in order),
    )


def _sheet(analysis: Analysis) -> Sheet:
    rows = []
    for i in _best_first(analysis):
        rank = analysis.ranks[i]
        low, high = (math.nan if end is None else end for end in (rank.ci_low, rank.ci_high))
        beaten = sum(analysis.significance.beats[i])
        rows.append(
            (
                name_cell(rank.model, model=analysis.index(rank.model)),
                Cell(text=str(rank.rank), values=(rank.rank or math.nan,)),
                Cell(text=fixed(rank.mean_rank, 2), values=(rank.mean_rank,)),
                Cell(text=f"{low:g} to {high:g}" if rank.ci_low else "–", values=(low, high)),
                Cell(text=percent(rank.shares[0], 1), values=(rank.shares[0],)),
                Cell(text=f"{beaten} of {len(analysis.ranks) - 1}", values=(beaten,)),
            )
        )
    return Sheet(
        key="ranking",
        caption=f"{analysis.results.dataset}: rank by mean Dice, over resamples of the cases",
        columns=(
            MODEL,
            Column(key="rank", heading="Rank"),
            Column(key="mean_rank", heading="Mean rank"),
            Column(key="rank_95", heading="95 % of ranks", parts=("low", "high")),
            Column(key="share_first", heading="Ranked first"),
            Column(key="models_beaten", heading="Models beaten"),
        ),
        rows=tuple(rows),
    )
