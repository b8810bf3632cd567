"""Results as papers print them: mean ± SD of the folds' means. And how much a model changes from seed to seed.

Three standard deviations are often confused, so each has a name of its own here:
 - `sd_between_cases`: how much cases differ. Says how hard the cases are.
 - `sd_between_folds`: how much the means of the folds differ. What "0.866 ± 0.02" means in most papers.
 - `sd_between_seeds`: how much repeated trainings on the same folds differ. A difference of models below it is none.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nnunet_spine_ext.evaluation.statistics import PairedScores
from nnunet_spine_ext.evaluation.statistics_tables import in_order, scores_by_seed


@dataclass(frozen=True, kw_only=True)
class FoldSummary:
    """One model, fold by fold; standard deviations with n - 1, NaN of a single value."""

    model: str
    folds: tuple[str, ...]
    cases_per_fold: tuple[int, ...]
    fold_means: tuple[float, ...]
    mean_of_folds: float
    """Every fold counts alike; `mean_of_cases` counts every case alike."""
    sd_between_folds: float
    mean_of_cases: float
    sd_between_cases: float


@dataclass(frozen=True, kw_only=True)
class SeedSummary:
    """One model, seed by seed."""

    model: str
    seeds: tuple[str, ...]
    cases: int
    """With a value in every seed: only those are averaged."""
    seed_means: tuple[float, ...]
    sd_between_seeds: float
    """With n - 1; NaN of a single seed."""


def fold_summaries(scores: PairedScores, folds: Mapping[str, str]) -> tuple[FoldSummary, ...]:
    """Return every model's results fold by fold; empty if no case belongs to a fold.

    Args:
        scores: of all models.
        folds: case → fold; cases that are not in it are left out.
    """
    rows = [i for i, case in enumerate(scores.cases) if case in folds]
    if not rows:
        return ()
    of_row = np.array([folds[scores.cases[i]] for i in rows])
    names = in_order(of_row.tolist())
    values = scores.values[rows]
    counts = tuple(int((of_row == name).sum()) for name in names)
    means = np.stack([values[of_row == name].mean(axis=0) for name in names])
    return tuple(
        FoldSummary(
            model=model,
            folds=tuple(names),
            cases_per_fold=counts,
            fold_means=tuple(means[:, i].tolist()),
            mean_of_folds=float(means[:, i].mean()),
            sd_between_folds=_sd(means[:, i].tolist()),
            mean_of_cases=float(values[:, i].mean()),
            sd_between_cases=_sd(values[:, i].tolist()),
        )
        for i, model in enumerate(scores.models)
    )


def seed_summaries(
    rows: pd.DataFrame, *, metric: str, labels: Collection[str] | None = None
) -> tuple[SeedSummary, ...]:
    """Return every model's mean seed by seed, in the order of the rows; see `score_table` for the arguments.

    Raises:
        SpineExtError: the rows hold no value of `metric`.
    """
    scores = scores_by_seed(rows, metric=metric, labels=labels)
    models = [str(model) for model in rows["model"].unique() if model in scores.index.get_level_values("model")]
    found = []
    for model in models:
        table = scores.xs(model, level="model").unstack("seed").dropna()
        seeds = in_order(str(seed) for seed in table.columns)
        means = [float(table[seed].mean()) for seed in seeds]
        found.append(
            SeedSummary(
                model=model,
                seeds=tuple(seeds),
                cases=len(table),
                seed_means=tuple(means),
                sd_between_seeds=_sd(means),
            )
        )
    return tuple(found)


def _sd(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
