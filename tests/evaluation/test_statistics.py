"""Means and intervals against naive loops over the same resamples; score tables against hand-worked values."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.evaluation.statistics import PairedScores, resample_indices, summaries
from nnunet_spine_ext.evaluation.statistics_tables import folds_of_cases, score_table
from tests.evaluation.scores import metrics_rows, table

DICE = table(A=[0.9, 0.8, 0.95, 0.7, 0.85], B=[0.88, 0.75, 0.96, 0.6, 0.8])


def naive_quantile(values: list[float], share: float) -> float:
    """Linear between the two values around position share * (n - 1), as textbooks have it."""
    ordered, at = sorted(values), share * (len(values) - 1)
    below = math.floor(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])


def test_summary_is_that_of_a_naive_loop_over_the_same_resamples() -> None:
    found = summaries(PairedScores.of(DICE, resamples=400, seed=3))
    indices = resample_indices(5, resamples=400, seed=3)
    for summary in found:
        values = list(DICE[summary.model])
        means = [sum(values[i] for i in row) / 5 for row in indices]
        assert summary.cases == 5
        assert summary.mean == pytest.approx(statistics.fmean(values), abs=1e-12)
        assert summary.sd == pytest.approx(statistics.stdev(values), abs=1e-12)
        assert summary.ci_low == pytest.approx(naive_quantile(means, 0.025), abs=1e-12)
        assert summary.ci_high == pytest.approx(naive_quantile(means, 0.975), abs=1e-12)


def test_interval_agrees_with_scipy_up_to_chance() -> None:
    values = np.random.default_rng(1).beta(20, 3, size=120)
    (found,) = summaries(PairedScores.of(table(A=values)))
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2))
    # Two independent bootstraps: the ends scatter by a few per cent of the interval's width.
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert found.ci_low == pytest.approx(theirs.confidence_interval.low, abs=0.04 * width)
    assert found.ci_high == pytest.approx(theirs.confidence_interval.high, abs=0.04 * width)


def test_resamples_are_drawn_evenly_and_with_replacement() -> None:
    indices = resample_indices(4, resamples=5000, seed=0)
    assert indices.shape == (5000, 4)
    shares = np.bincount(indices.ravel(), minlength=4) / indices.size
    assert shares == pytest.approx([0.25] * 4, abs=0.02)
    assert any(len(set(row.tolist())) < 4 for row in indices)


def test_results_depend_neither_on_the_order_of_models_nor_of_cases() -> None:
    random = np.random.default_rng(0)
    scores = table(**{name: random.random(40) for name in "ABCDE"})
    shuffled = scores.sample(frac=1, random_state=1)[["D", "B", "E", "A", "C"]]
    ours, theirs = ({s.model: s for s in summaries(PairedScores.of(t, resamples=200))} for t in (scores, shuffled))
    assert ours == theirs  # to the bit


def test_seed_repeats_the_intervals_and_another_changes_them() -> None:
    first, again, other = (summaries(PairedScores.of(DICE, resamples=50, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_many_resamples_of_many_cases_are_made_in_parts() -> None:
    # More values than fit into one part: the parts must join without gap or overlap.
    random = np.random.default_rng(0)
    scores = table(A=random.random(900), B=random.random(900))
    found = PairedScores.of(scores, resamples=5000)
    indices = resample_indices(900, resamples=5000, seed=0)
    values = scores.sort_index()["B"].to_numpy()
    for row in (0, 2221, 2222, 2223, 4999):
        assert found.bootstrap_means[row, 1] == pytest.approx(values[indices[row]].mean(), abs=1e-12)


def test_cases_that_a_model_lacks_are_dropped_for_all_and_named() -> None:
    scores = table(A=[0.9, math.nan, 0.7, 0.8], B=[0.5, 0.6, 0.7, math.nan])
    found = PairedScores.of(scores)
    assert found.cases == ("c000", "c002")
    assert found.dropped == ("c001", "c003")
    assert [s.mean for s in summaries(found)] == pytest.approx([0.8, 0.6])


def test_one_case_has_a_mean_but_no_spread() -> None:
    (found,) = summaries(PairedScores.of(table(A=[0.9])))
    assert (found.cases, found.mean) == (1, 0.9)
    assert math.isnan(found.sd)
    assert math.isnan(found.ci_low)
    assert math.isnan(found.ci_high)


def test_no_complete_case_has_nothing() -> None:
    scores = PairedScores.of(table(A=[0.9, math.nan], B=[math.nan, 0.8]))
    assert scores.dropped == ("c000", "c001")
    for found in summaries(scores):
        assert found.cases == 0
        assert all(math.isnan(value) for value in (found.mean, found.sd, found.ci_low, found.ci_high))


def test_a_case_that_is_there_twice_is_refused() -> None:
    with pytest.raises(SpineExtError, match="the case c000 more than once"):
        PairedScores.of(pd.concat([DICE, DICE.iloc[:1]]))
    with pytest.raises(SpineExtError, match="the model A more than once"):
        PairedScores.of(pd.concat([DICE, DICE[["A"]]], axis=1))


# ---- from metrics.csv --------------------------------------------------------------------------------------------


def test_score_is_the_mean_over_structures_and_then_over_seeds() -> None:
    rows = metrics_rows(
        ("B", "0", "0", "c1", "S", "dice", 0.6),
        ("B", "0", "0", "c1", "L5", "dice", 0.8),
        # In the other run L5 has no value: the case's mean there is that of S alone, and runs count alike.
        ("B", "0", "1", "c1", "S", "dice", 0.4),
        ("B", "0", "1", "c1", "L5", "dice", math.nan),
        ("A", "0", "0", "c1", "S", "dice", 0.5),
        ("A", "0", "0", "c2", "S", "dice", math.nan),
        # No structures, and no Dice:
        ("A", "0", "0", "c1", "union of structures", "dice", 0.0),
        ("A", "0", "0", "c1", "all structures", "challenge_dice", 0.25),
        ("A", "0", "0", "c1", "S", "iou", 0.1),
    )
    found = score_table(rows, metric="dice")
    assert list(found.columns) == ["B", "A"]  # as in the file
    assert list(found.index) == ["c1", "c2"]
    assert found.loc["c1", "B"] == pytest.approx((0.7 + 0.4) / 2)
    assert found.loc["c1", "A"] == 0.5
    assert found.loc["c2"].isna().all()
    assert score_table(rows, metric="challenge_dice", labels=["all structures"]).loc["c1", "A"] == 0.25


def test_absent_metric_is_refused() -> None:
    with pytest.raises(SpineExtError, match="no value of hd95"):
        score_table(metrics_rows(("A", "0", "0", "c1", "S", "dice", 0.5)), metric="hd95")


@pytest.mark.parametrize("zero", ["0", 0, 0.0])
def test_folds_are_named_alike_however_pandas_read_them(zero: object) -> None:
    rows = metrics_rows(
        ("A", zero, "", "c1", "S", "dice", 0.5),
        ("A", math.nan, "", "c2", "S", "dice", 0.5),
        ("A", "", "", "c3", "S", "dice", 0.5),
    )
    assert folds_of_cases(rows) == {"c1": "0"}


def test_different_splits_are_refused() -> None:
    rows = metrics_rows(("A", "0", "", "c1", "S", "dice", 0.5), ("B", "3", "", "c1", "S", "dice", 0.5))
    with pytest.raises(SpineExtError, match=r"Case c1 is in fold 0 and in fold 3.*splits_final\.json"):
        folds_of_cases(rows)
