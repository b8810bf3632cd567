"""Two models on the same cases: Wilcoxon's signed-rank test with Holm's correction, effect sizes, who beats whom.

The tests are two-sided. Cases in which both models are equal say nothing about which is better and are left out of the
test, as Wilcoxon did; with no other case p is 1. Up to 50 cases without ties, and up to 13 with ties, p is exact, else
from the normal distribution (scipy's `method="auto"`).

Axes: N cases, M models, R resamples.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata, wilcoxon

from nnunet_spine_ext.evaluation.statistics import CONFIDENCE, DECIMALS, Floats, PairedScores, interval

ALL_PAIRS = "all pairs"
AGAINST_BASELINE = "against the baseline"
LEVEL = 0.05
"""Significant is an adjusted p below it."""


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """`second` minus `first`, case by case; NaN where there are too few cases."""

    family: str
    """`ALL_PAIRS` or `AGAINST_BASELINE`: the tests that Holm's correction takes together."""
    first: str
    second: str
    cases: int
    mean_difference: float
    ci_low: float
    ci_high: float
    """Bootstrap interval of the mean difference."""
    second_higher: int
    first_higher: int
    equal: int
    statistic: float
    """The smaller of the two sums of ranks."""
    p: float
    p_holm: float
    rank_biserial: float
    """Matched-pairs rank-biserial correlation: the share of the rank sum in favour of `second` minus the share in
    favour of `first`, -1 to 1 (Kerby 2014)."""


@dataclass(frozen=True, kw_only=True)
class SignificanceMap:
    """Who beats whom. Row i, column j: model i against model j."""

    models: tuple[str, ...]
    level: float
    p_holm: tuple[tuple[float, ...], ...]
    """NaN on the diagonal."""
    beats: tuple[tuple[bool, ...], ...]


def paired_tests(
    scores: PairedScores, *, baseline: str | None = None, confidence: float = CONFIDENCE
) -> tuple[PairedTest, ...]:
    """Return the tests of one family, with p-values adjusted within it.

    Args:
        scores: of all models.
        baseline: None tests all pairs, in the order of the models; a model's name tests every other one (`second`)
            against it (`first`): fewer tests, hence a smaller correction. Decide before you look which one you report.
        confidence: of the intervals.

    Raises:
        SpineExtError: no model is called `baseline`.
    """
    if baseline is None:
        family, pairs = ALL_PAIRS, list(itertools.combinations(range(len(scores.models)), 2))
    else:
        first = scores.column(baseline)
        family, pairs = AGAINST_BASELINE, [(first, i) for i in range(len(scores.models)) if i != first]
    tests = [_test(scores, i, j, family=family, confidence=confidence) for i, j in pairs]
    adjusted = holm([test.p for test in tests])
    return tuple(replace(test, p_holm=p) for test, p in zip(tests, adjusted, strict=True))


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Return p-values adjusted by Holm's step-down procedure (1979), in the order given; NaN is no test.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none becomes smaller than one before it.
    """
    there = [i for i, value in enumerate(p) if not math.isnan(value)]
    adjusted, least = [math.nan] * len(p), 0.0
    for rank, i in enumerate(sorted(there, key=lambda i: p[i])):
        least = max(least, min(1.0, p[i] * (len(there) - rank)))
        adjusted[i] = least
    return tuple(adjusted)


def significance_map(
    models: Sequence[str], tests: Sequence[PairedTest], *, higher_is_better: bool = True, level: float = LEVEL
) -> SignificanceMap:
    """Return which model beats which: its adjusted p is below `level`, and the ranks favour it.

    Args:
        models: in the order of rows and columns.
        tests: of all pairs of them, as `paired_tests` gives them without a baseline.
        higher_is_better: the direction of the metric.
        level: below it an adjusted p is significant.
    """
    sign = 1.0 if higher_is_better else -1.0
    p: dict[tuple[str, str], float] = {}
    ahead: dict[tuple[str, str], float] = {}
    for test in tests:
        p[test.first, test.second] = p[test.second, test.first] = test.p_holm
        ahead[test.second, test.first] = sign * test.rank_biserial
        ahead[test.first, test.second] = -sign * test.rank_biserial
    return SignificanceMap(
        models=tuple(models),
        level=level,
        p_holm=tuple(tuple(p.get((i, j), math.nan) for j in models) for i in models),
        beats=tuple(tuple((i, j) in p and p[i, j] < level and ahead[i, j] > 0 for j in models) for i in models),
    )


def _test(scores: PairedScores, first: int, second: int, *, family: str, confidence: float) -> PairedTest:
    difference = np.round(scores.values[:, second] - scores.values[:, first], DECIMALS)
    resampled = scores.bootstrap_means[:, second] - scores.bootstrap_means[:, first]
    low, high = interval(resampled, cases=len(difference), confidence=confidence)
    statistic, p = _wilcoxon(difference)
    return PairedTest(
        family=family,
        first=scores.models[first],
        second=scores.models[second],
        cases=len(difference),
        mean_difference=float(scores.means[second] - scores.means[first]),
        ci_low=float(low),
        ci_high=float(high),
        second_higher=int((difference > 0).sum()),
        first_higher=int((difference < 0).sum()),
        equal=int((difference == 0).sum()),
        statistic=statistic,
        p=p,
        p_holm=p,
        rank_biserial=_rank_biserial(difference),
    )


def _wilcoxon(difference: Floats) -> tuple[float, float]:
    """Return statistic and two-sided p."""
    if not difference.size:
        return math.nan, math.nan
    unequal = difference[difference != 0]
    if not unequal.size:
        return 0.0, 1.0
    result = wilcoxon(unequal)
    return float(result.statistic), float(result.pvalue)


def _rank_biserial(difference: Floats) -> float:
    """Return the effect size of the signed ranks; 0 if all differences are 0."""
    if not difference.size:
        return math.nan
    unequal = difference[difference != 0]
    if not unequal.size:
        return 0.0
    ranks = rankdata(np.abs(unequal))
    return float((ranks * np.sign(unequal)).sum() / ranks.sum())
