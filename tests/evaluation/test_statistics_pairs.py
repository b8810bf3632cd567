"""Paired tests against hand-worked values, scipy on differences, and enumeration of all signs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.evaluation.statistics import PairedScores, resample_indices
from nnunet_spine_ext.evaluation.statistics_pairs import (
    AGAINST_BASELINE,
    ALL_PAIRS,
    holm,
    paired_tests,
    significance_map,
)
from tests.evaluation.scores import table


def test_holm_by_hand() -> None:
    # Sorted: .01 x 4 = .04, .02 x 3 = .06, .03 x 2 = .06, .5 x 1; given in another order.
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    # .01 x 3 = .03; .011 x 2 = .022 is raised to .03; .9 x 1 = .9
    assert holm([0.01, 0.011, 0.9]) == pytest.approx([0.03, 0.03, 0.9])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([0.7, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_leaves_out_what_is_no_test() -> None:
    first, nothing, second = holm([0.01, math.nan, 0.04])
    assert (first, second) == pytest.approx((0.02, 0.04))
    assert math.isnan(nothing)


def exact_p(difference: list[float]) -> tuple[float, float]:
    """Smaller rank sum and two-sided p, by counting all 2^n ways to sign the ranks (no ties, no zeros)."""
    order = sorted(range(len(difference)), key=lambda i: abs(difference[i]))
    ranks = [0] * len(difference)
    for rank, i in enumerate(order, start=1):
        ranks[i] = rank
    plus = sum(r for r, d in zip(ranks, difference, strict=True) if d > 0)
    total = sum(ranks)
    smaller = min(plus, total - plus)
    sums = [
        sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in itertools.product((0, 1), repeat=len(ranks))
    ]
    return smaller, sum(min(s, total - s) <= smaller for s in sums) / len(sums)


def test_wilcoxon_and_effect_by_enumeration() -> None:
    difference = [0.05, -0.01, 0.08, 0.02, 0.11, -0.03, 0.04]  # ranks 5 1 6 2 7 3 4
    first = [0.7, 0.8, 0.6, 0.9, 0.5, 0.85, 0.75]
    scores = PairedScores.of(table(A=first, B=[a + d for a, d in zip(first, difference, strict=True)]))
    (found,) = paired_tests(scores)
    statistic, p = exact_p(difference)
    assert statistic == 1 + 3
    assert (found.statistic, found.p) == (statistic, pytest.approx(p, abs=1e-12))
    assert found.rank_biserial == pytest.approx((2 + 4 + 5 + 6 + 7 - 1 - 3) / 28)
    assert (found.second_higher, found.first_higher, found.equal) == (5, 2, 0)
    assert found.mean_difference == pytest.approx(sum(difference) / 7)
    assert (found.family, found.first, found.second, found.cases) == (ALL_PAIRS, "A", "B", 7)


@pytest.mark.parametrize("cases", [12, 80])
def test_wilcoxon_is_scipys_on_the_differences(cases: int) -> None:
    random = np.random.default_rng(cases)
    scores = table(**{name: random.random(cases) + 0.1 * i for i, name in enumerate("ABC")})
    for found in paired_tests(PairedScores.of(scores, resamples=10)):
        theirs = wilcoxon(scores[found.second], scores[found.first])
        assert found.p == pytest.approx(float(theirs.pvalue), rel=1e-12)
        assert found.statistic == float(theirs.statistic)


def test_ties_and_equal_cases() -> None:
    # Differences .1 .1 -.1 .2 0 0, in floating point not exactly so; ranks of |d| without zeros: 2 2 2 4.
    first, second = [0.1, 0.2, 0.4, 0.5, 0.6, 0.7], [0.2, 0.3, 0.3, 0.7, 0.6, 0.7]
    (found,) = paired_tests(PairedScores.of(table(A=first, B=second)))
    assert (found.second_higher, found.first_higher, found.equal) == (3, 1, 2)
    assert found.statistic == 2
    assert found.rank_biserial == pytest.approx((2 + 2 + 4 - 2) / 10)
    theirs = wilcoxon([1, 1, -1, 2])
    assert found.p == pytest.approx(float(theirs.pvalue), rel=1e-12)


def test_identical_models_are_no_evidence() -> None:
    values = [0.9, 0.8, 0.7]
    (found,) = paired_tests(PairedScores.of(table(A=values, B=values)))
    assert (found.p, found.p_holm, found.rank_biserial, found.mean_difference) == (1.0, 1.0, 0.0, 0.0)
    assert (found.ci_low, found.ci_high) == (0.0, 0.0)
    assert found.equal == 3


def test_one_case_is_no_evidence_and_has_no_interval() -> None:
    (found,) = paired_tests(PairedScores.of(table(A=[0.5], B=[0.9])))
    assert found.p == 1.0
    assert math.isnan(found.ci_low)
    assert math.isnan(found.ci_high)


def test_no_case_and_one_model_are_no_test() -> None:
    (found,) = paired_tests(PairedScores.of(table(A=[math.nan], B=[0.9])))
    assert found.cases == 0
    assert math.isnan(found.p)
    assert math.isnan(found.p_holm)
    assert math.isnan(found.rank_biserial)
    assert paired_tests(PairedScores.of(table(A=[0.5, 0.6]))) == ()


def test_interval_of_the_difference_is_of_the_same_resamples() -> None:
    random = np.random.default_rng(0)
    scores = table(A=random.random(9), B=random.random(9))
    (found,) = paired_tests(PairedScores.of(scores, resamples=300, seed=5))
    difference = (scores["B"] - scores["A"]).tolist()
    means = [sum(difference[i] for i in row) / 9 for row in resample_indices(9, resamples=300, seed=5)]
    assert [found.ci_low, found.ci_high] == pytest.approx(np.percentile(means, [2.5, 97.5]).tolist(), abs=1e-12)


def test_families_are_adjusted_by_themselves() -> None:
    random = np.random.default_rng(3)
    base = random.random(20)
    scores = PairedScores.of(table(**{n: base + random.normal(0.03 * i, 0.05, 20) for i, n in enumerate("ABCD")}))
    everything, against = paired_tests(scores), paired_tests(scores, baseline="B")
    assert [(t.first, t.second) for t in against] == [("B", "A"), ("B", "C"), ("B", "D")]
    assert {t.family for t in against} == {AGAINST_BASELINE}
    assert len(everything) == 6
    # The same test in both families: the same p, but the smallest is multiplied by 6 and by 3.
    p = {frozenset((t.first, t.second)): t.p for t in everything}
    assert all(t.p == p[frozenset((t.first, t.second))] for t in against)
    smallest = min(everything, key=lambda t: t.p)
    assert smallest.p_holm == pytest.approx(6 * smallest.p)
    smallest = min(against, key=lambda t: t.p)
    assert smallest.p_holm == pytest.approx(3 * smallest.p)


def test_direction_turns_with_the_order_of_the_models() -> None:
    random = np.random.default_rng(0)
    scores = table(A=random.random(30), B=random.random(30))
    (one,), (other,) = (paired_tests(PairedScores.of(t, resamples=200)) for t in (scores, scores[["B", "A"]]))
    assert (one.p, one.statistic) == (other.p, other.statistic)
    assert (one.mean_difference, one.rank_biserial) == (-other.mean_difference, -other.rank_biserial)
    assert (one.ci_low, one.ci_high) == pytest.approx((-other.ci_high, -other.ci_low), abs=1e-12)


def test_unknown_baseline_is_refused() -> None:
    with pytest.raises(SpineExtError, match="No model is called 'C'; there are A, B"):
        paired_tests(PairedScores.of(table(A=[0.5], B=[0.9])), baseline="C")


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_map_says_who_beats_whom(higher_is_better: bool) -> None:
    # B is above A in all 20 cases, C is B with its cases swapped in pairs: no difference to B, all but one above A.
    a = np.linspace(0.3, 0.5, 20)
    b = a + np.linspace(0.1, 0.2, 20)
    c = b + np.tile([0.001, -0.001], 10)
    tests = paired_tests(PairedScores.of(table(A=a, B=b, C=c), resamples=10))
    found = significance_map("ABC", tests, higher_is_better=higher_is_better)
    assert found.models == ("A", "B", "C")
    wins = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0]], dtype=bool)
    assert np.array_equal(np.array(found.beats), wins if higher_is_better else wins.T)
    p = np.array(found.p_holm)
    assert np.isnan(np.diag(p)).all()
    assert np.array_equal(p, p.T, equal_nan=True)
    # 20 of 20 on one side: two-sided p is 2 / 2^20; twice the smallest of three tests.
    assert p[0, 1] == pytest.approx(3 * 2 / 2**20)


def test_map_of_one_model_is_empty_of_wins() -> None:
    assert significance_map("A", ()).beats == ((False,),)
