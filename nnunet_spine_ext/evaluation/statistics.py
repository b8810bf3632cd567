"""Statistics of a comparison, case by case: the paired scores of all models, their means and how sure those are.

    metrics.csv ─▶ score table ─▶ PairedScores ─▶ summaries (here) · pairs · ranks · folds · suitability
                   statistics_tables              statistics_pairs, statistics_ranks, statistics_folds, suitability

A *score table* is a DataFrame with one row per case and one column per model. With nnU-Net's cross-validation each case
is predicted exactly once by every model, so models are paired on all cases, not on five folds.

The intervals are percentile bootstrap intervals of the mean, made by resampling cases. Of the mean, not of the median:
a resample's median can only be one of the few values around the middle, so that its interval is uneven and, for the
sample sizes here, often does not cover what it should (arXiv 2601.17103); for the mean the bootstrap agrees with the
parametric interval (El Jurdi et al., arXiv 2307.10926).

Axes: N cases, M models, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nnunet_spine_ext.errors import SpineExtError

Floats = NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
FEWEST_CASES = 50
"""Below it, the interval around a mean Dice is wide (El Jurdi et al., arXiv 2307.10926)."""
DECIMALS = 12
"""Differences and means that agree to so many decimals are equal: the rest is rounding of floating-point numbers."""

_VALUES_AT_ONCE = 4_000_000
"""Bounds the memory of the bootstrap to some 30 MB."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedScores:
    """The cases for which every model has a value, and the models' means over resamples of them."""

    models: tuple[str, ...]
    """In the order of the score table's columns; nothing but the order of results depends on it."""
    cases: tuple[str, ...]
    """Sorted, so that the same cases give the same resamples."""
    values: Floats = field(repr=False)
    """(N, M)"""
    dropped: tuple[str, ...]
    """Cases left out because at least one model has no value for them."""
    bootstrap_means: Floats = field(repr=False)
    """(R, M): every row is the means of all models over the same resample of cases."""

    @classmethod
    def of(cls, scores: pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0) -> PairedScores:
        """Return the complete cases of a score table, and their resamples.

        Args:
            scores: index = case, columns = models; NaN where there is no value.
            resamples: how many.
            seed: of the generator that draws them.

        Raises:
            SpineExtError: a case or a model occurs twice.
        """
        _refuse_twice("case", scores.index)
        _refuse_twice("model", scores.columns)
        ordered = scores.sort_index()
        complete = ordered.notna().all(axis=1).to_numpy(dtype=bool)
        values = ordered.to_numpy(dtype=float)[complete]
        names = [str(case) for case in ordered.index]
        return cls(
            models=tuple(str(model) for model in ordered.columns),
            cases=tuple(name for name, kept in zip(names, complete, strict=True) if kept),
            values=values,
            dropped=tuple(name for name, kept in zip(names, complete, strict=True) if not kept),
            bootstrap_means=_resampled_means(values, resamples=resamples, seed=seed),
        )

    def column(self, model: str) -> int:
        """Return the position of a model.

        Raises:
            SpineExtError: there is no such model.
        """
        if model not in self.models:
            raise SpineExtError(f"No model is called {model!r}; there are {', '.join(self.models)}.")
        return self.models.index(model)

    @property
    def means(self) -> Floats:
        """Return each model's mean over cases, (M,); NaN if no case is complete."""
        return self.values.mean(axis=0) if self.cases else np.full(len(self.models), np.nan)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One model over all complete cases; NaN where there are too few of them."""

    model: str
    cases: int
    mean: float
    sd: float
    """Over cases, with n - 1."""
    ci_low: float
    ci_high: float
    """Bootstrap interval of the mean."""


def summaries(scores: PairedScores, *, confidence: float = CONFIDENCE) -> tuple[Summary, ...]:
    """Return mean, SD over cases, and bootstrap interval of the mean, for every model."""
    n = len(scores.cases)
    low, high = interval(scores.bootstrap_means, cases=n, confidence=confidence)
    sd = scores.values.std(axis=0, ddof=1) if n > 1 else np.full(len(scores.models), np.nan)
    return tuple(
        Summary(
            model=model,
            cases=n,
            mean=float(scores.means[i]),
            sd=float(sd[i]),
            ci_low=float(low[i]),
            ci_high=float(high[i]),
        )
        for i, model in enumerate(scores.models)
    )


def interval(resampled: Floats, *, cases: int, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Return lower and upper end of the percentile interval of resampled values, (R, ...) → twice (...).

    NaN with fewer than two cases: their resamples are all alike, which would look like certainty.
    """
    if cases < 2:
        nothing = np.full(resampled.shape[1:], np.nan)
        return nothing, nothing
    tail = round((1 - confidence) / 2, DECIMALS)
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return low, high


def resample_indices(cases: int, *, resamples: int, seed: int) -> NDArray[np.int64]:
    """Return for every resample which cases it is made of, (R, N): drawn with replacement, as many as there are."""
    return np.random.default_rng(seed).integers(0, cases, size=(resamples, cases))


def _resampled_means(values: Floats, *, resamples: int, seed: int) -> Floats:
    """Return (R, M): gathered and added, not multiplied by counts, so that a column's bits do not depend on others."""
    cases, models = values.shape
    if not cases:
        return np.full((resamples, models), np.nan)
    indices = resample_indices(cases, resamples=resamples, seed=seed)
    means = np.empty((resamples, models))
    step = max(1, _VALUES_AT_ONCE // max(1, values.size))
    for start in range(0, resamples, step):
        means[start : start + step] = values[indices[start : start + step]].mean(axis=1)
    return means


def _refuse_twice(what: str, names: pd.Index) -> None:
    twice = sorted({str(name) for name in names[names.duplicated()]})
    if twice:
        raise SpineExtError(f"The score table holds the {what} {', '.join(twice)} more than once. Name each once.")
