"""How stable a ranking is: models ranked anew in every resample of the cases.

After Wiesenfarth et al. 2021 (the ideas of challengeR). Rank 1 is best; models that are equal share the better rank.

Axes: M models, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_spine_ext.evaluation.statistics import CONFIDENCE, DECIMALS, Floats, PairedScores


@dataclass(frozen=True, kw_only=True)
class RankSummary:
    """The ranks of one model."""

    model: str
    rank: int | None
    """By the mean over all complete cases; None if there is none."""
    mean_rank: float
    """Over resamples."""
    ci_low: int | None
    ci_high: int | None
    """The ranks between which it lies in 95 % of the resamples; None with fewer than two cases."""
    shares: tuple[float, ...]
    """The share of resamples in which it has rank 1, 2, … M."""


def bootstrap_ranks(
    scores: PairedScores, *, higher_is_better: bool = True, confidence: float = CONFIDENCE
) -> tuple[RankSummary, ...]:
    """Return the rank of every model by its mean, over all cases and over the resamples."""
    if not scores.cases:
        nothing = tuple(np.nan for _ in scores.models)
        return tuple(
            RankSummary(model=model, rank=None, mean_rank=np.nan, ci_low=None, ci_high=None, shares=nothing)
            for model in scores.models
        )
    ranks = _ranks(scores.bootstrap_means, higher_is_better=higher_is_better)
    whole = _ranks(scores.means[None], higher_is_better=higher_is_better)[0]
    tail = round((1 - confidence) / 2, DECIMALS)
    # Ranks are whole numbers, so the ends of the interval are ranks that occurred.
    ends = np.quantile(ranks, [tail, 1 - tail], axis=0, method="inverted_cdf") if len(scores.cases) > 1 else None
    return tuple(
        RankSummary(
            model=model,
            rank=int(whole[i]),
            mean_rank=float(ranks[:, i].mean()),
            ci_low=None if ends is None else int(ends[0, i]),
            ci_high=None if ends is None else int(ends[1, i]),
            shares=tuple(float((ranks[:, i] == rank).mean()) for rank in range(1, len(scores.models) + 1)),
        )
        for i, model in enumerate(scores.models)
    )


def _ranks(means: Floats, *, higher_is_better: bool) -> NDArray[np.int64]:
    """Return 1 + the number of better models in the same row, (R, M)."""
    worth = np.round(means if higher_is_better else -means, DECIMALS)
    ranks = np.ones(worth.shape, dtype=np.int64)
    for column in worth.T:
        ranks += column[:, None] > worth
    return ranks
