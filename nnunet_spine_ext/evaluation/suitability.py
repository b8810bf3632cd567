"""Can this dataset tell these models apart? The test of "nnU-Net Revisited" (Isensee et al., arXiv 2404.09556).

A dataset is of use for comparing methods if methods differ more on it than the folds of one method do. Folds hold
different cases, so the SD between folds also contains how hard those cases are; the paired tests do not suffer from
that. A ratio below 1 is therefore a warning, not a proof.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnunet_spine_ext.evaluation.statistics import DECIMALS, FEWEST_CASES, PairedScores
from nnunet_spine_ext.evaluation.statistics_folds import FoldSummary, fold_summaries

LEAST_RATIO = 1.0
"""Below it, the folds of one model differ more than the models."""
CEILING = 0.95
"""Above it, little is left to gain for a metric that ends at 1: the rest is about as large as what two annotators
disagree on, and the order of models depends on how a few borders were drawn. Our convention, not a law."""


@dataclass(frozen=True, kw_only=True)
class Suitability:
    """What speaks for and against comparing models on a dataset; NaN where it cannot be computed."""

    cases: int
    models: int
    folds: int
    between_models_sd: float
    """SD (n - 1) over models of the mean of their folds."""
    between_folds_sd: float
    """Mean over models of the SD (n - 1) of their folds' means."""
    ratio: float
    """The first over the second; infinite if no fold differs from another."""
    best_mean: float
    warnings: tuple[str, ...]
    """For the reader; empty if nothing speaks against the dataset."""


def suitability(
    scores: PairedScores,
    folds: Mapping[str, str],
    *,
    higher_is_better: bool = True,
    ceiling: float | None = CEILING,
) -> Suitability:
    """Return whether the dataset can tell the models apart, with warnings where it cannot.

    Args:
        scores: of all models.
        folds: case → fold; may be empty, then the ratio is NaN.
        higher_is_better: the direction of the metric.
        ceiling: a best mean above it is a warning; None for metrics that do not end at 1.
    """
    found = fold_summaries(scores, folds)
    between_models, between_folds = _between_models(found), _between_folds(found)
    means = scores.means
    best = float(means.max() if higher_is_better else means.min()) if means.size else math.nan
    ratio = _ratio(between_models, between_folds)
    n = len(scores.cases)
    return Suitability(
        cases=n,
        models=len(scores.models),
        folds=len(found[0].folds) if found else 0,
        between_models_sd=between_models,
        between_folds_sd=between_folds,
        ratio=ratio,
        best_mean=best,
        warnings=(*_ratio_warning(ratio, between_models, between_folds), *_few(n), *_ceiling(best, ceiling)),
    )


def _between_models(folds: tuple[FoldSummary, ...]) -> float:
    return float(np.std([model.mean_of_folds for model in folds], ddof=1)) if len(folds) > 1 else math.nan


def _between_folds(folds: tuple[FoldSummary, ...]) -> float:
    return float(np.mean([model.sd_between_folds for model in folds])) if folds else math.nan


def _ratio(models: float, folds: float) -> float:
    if math.isnan(models) or math.isnan(folds):
        return math.nan
    if round(folds, DECIMALS) == 0:
        return math.inf if round(models, DECIMALS) > 0 else math.nan
    return models / folds


def _ratio_warning(ratio: float, models: float, folds: float) -> list[str]:
    if math.isnan(ratio) or ratio >= LEAST_RATIO:
        return []
    return [
        f"This dataset can hardly tell these models apart: their means differ by an SD of {models:.4f}, the folds of "
        f"one model by {folds:.4f} (ratio {ratio:.2f}, below {LEAST_RATIO:g}). Another split of the cases may well "
        "turn the ranking round."
    ]


def _few(cases: int) -> list[str]:
    if cases >= FEWEST_CASES:
        return []
    counted = "1 case" if cases == 1 else f"{cases} cases"
    return [f"Only {counted}: below {FEWEST_CASES} the interval around a mean is wide, and a small difference chance."]


def _ceiling(best: float, ceiling: float | None) -> list[str]:
    if ceiling is None or math.isnan(best) or round(best, DECIMALS) <= ceiling:
        return []
    return [
        f"The best mean is {best:.3f}, above {ceiling:g}: what is left to gain is about what two annotators disagree "
        "on, so differences between models may lie in the references."
    ]
