"""Folds, seeds and the suitability of a dataset, with values worked by hand."""

from __future__ import annotations

import math
import statistics

import pytest

from nnunet_spine_ext.evaluation.statistics import PairedScores
from nnunet_spine_ext.evaluation.statistics_folds import fold_summaries, seed_summaries
from nnunet_spine_ext.evaluation.suitability import suitability
from tests.evaluation.scores import metrics_rows, table

SCORES = table(A=[0.9, 0.7, 0.6, 0.8, 0.8], B=[0.8, 0.6, 0.5, 0.7, 0.9])
FOLDS = {"c000": "0", "c001": "0", "c002": "10", "c003": "2", "c004": "2"}


def test_folds_of_different_size_count_alike() -> None:
    first, second = fold_summaries(PairedScores.of(SCORES), FOLDS)
    assert first.model == "A"
    assert first.folds == ("0", "2", "10")
    assert first.cases_per_fold == (2, 2, 1)
    assert first.fold_means == pytest.approx((0.8, 0.8, 0.6))
    assert first.mean_of_folds == pytest.approx(2.2 / 3)
    assert first.sd_between_folds == pytest.approx(statistics.stdev([0.8, 0.8, 0.6]))
    assert first.mean_of_cases == pytest.approx(3.8 / 5)
    assert first.sd_between_cases == pytest.approx(statistics.stdev([0.9, 0.7, 0.6, 0.8, 0.8]))
    assert second.fold_means == pytest.approx((0.7, 0.8, 0.5))


def test_single_fold_has_no_spread_and_no_fold_no_summary() -> None:
    (found,) = fold_summaries(PairedScores.of(table(A=[0.5, 0.7])), {"c000": "0", "c001": "0"})
    assert found.mean_of_folds == pytest.approx(0.6)
    assert math.isnan(found.sd_between_folds)
    assert fold_summaries(PairedScores.of(SCORES), {}) == ()


def test_cases_without_fold_are_left_out() -> None:
    (found,) = fold_summaries(PairedScores.of(table(A=[0.5, 0.7, 0.1])), {"c000": "0", "c001": "1"})
    assert found.mean_of_cases == pytest.approx(0.6)


def test_seeds_are_compared_on_the_cases_that_all_have() -> None:
    rows = metrics_rows(
        ("A", "0", "0", "c1", "S", "dice", 0.5),
        ("A", "0", "0", "c2", "S", "dice", 0.7),
        ("A", "0", "1", "c1", "S", "dice", 0.4),
        ("A", "0", "1", "c2", "S", "dice", 0.6),
        ("A", "0", "10", "c1", "S", "dice", 0.6),
        ("A", "0", "10", "c2", "S", "dice", 0.9),
        ("A", "0", "0", "c3", "S", "dice", 0.1),  # in one run only
        ("B", "0", "", "c1", "S", "dice", 0.3),
    )
    first, second = seed_summaries(rows, metric="dice")
    assert (first.model, first.seeds, first.cases) == ("A", ("0", "1", "10"), 2)
    assert first.seed_means == pytest.approx((0.6, 0.5, 0.75))
    assert first.sd_between_seeds == pytest.approx(statistics.stdev([0.6, 0.5, 0.75]))
    assert (second.seeds, second.seed_means) == (("",), (0.3,))
    assert math.isnan(second.sd_between_seeds)


# ---- suitability -------------------------------------------------------------------------------------------------


def test_ratio_by_hand() -> None:
    found = suitability(PairedScores.of(SCORES), FOLDS)
    between_models = statistics.stdev([2.2 / 3, 2.0 / 3])
    between_folds = (statistics.stdev([0.8, 0.8, 0.6]) + statistics.stdev([0.7, 0.8, 0.5])) / 2
    assert found.between_models_sd == pytest.approx(between_models)
    assert found.between_folds_sd == pytest.approx(between_folds)
    assert found.ratio == pytest.approx(between_models / between_folds)
    assert (found.cases, found.models, found.folds) == (5, 2, 3)
    assert any(
        "can hardly tell these models apart" in warning and "ratio 0.35" in warning for warning in found.warnings
    )


def test_dataset_that_tells_models_apart_gives_no_warning() -> None:
    folds = {f"c{i:03d}": str(i % 5) for i in range(50)}
    good = [0.9 + 0.001 * (i % 5) for i in range(50)]
    poor = [value - 0.2 for value in good]
    found = suitability(PairedScores.of(table(A=good, B=poor)), folds)
    assert found.ratio > 50
    assert found.best_mean == pytest.approx(0.902)
    assert found.warnings == ()


def test_few_cases_and_a_ceiling_are_warned_of() -> None:
    found = suitability(PairedScores.of(table(A=[0.99] * 49, B=[0.5] * 49)), {})
    few, ceiling = found.warnings
    assert few.startswith("Only 49 cases: below 50")
    assert ceiling.startswith("The best mean is 0.990, above 0.95")
    assert suitability(PairedScores.of(table(A=[0.95] * 50)), {}).warnings == ()
    one = suitability(PairedScores.of(table(A=[0.5])), {})
    assert one.warnings[0].startswith("Only 1 case:")


def test_distances_have_no_ceiling_and_the_lowest_is_best() -> None:
    scores = PairedScores.of(table(A=[1.0] * 50, B=[3.0] * 50))
    found = suitability(scores, {}, higher_is_better=False, ceiling=None)
    assert found.best_mean == 1.0
    assert found.warnings == ()


def test_ratio_needs_models_and_folds_that_differ() -> None:
    one_model = suitability(PairedScores.of(table(A=[0.5, 0.6])), {"c000": "0", "c001": "1"})
    assert math.isnan(one_model.ratio)
    no_folds = suitability(PairedScores.of(SCORES), {})
    assert math.isnan(no_folds.ratio)
    assert no_folds.folds == 0
    folds = {"c000": "0", "c001": "1"}
    assert suitability(PairedScores.of(table(A=[0.5, 0.5], B=[0.6, 0.6])), folds).ratio == math.inf
    assert math.isnan(suitability(PairedScores.of(table(A=[0.5, 0.5], B=[0.5, 0.5])), folds).ratio)


def test_nothing_complete_is_no_best_mean() -> None:
    found = suitability(PairedScores.of(table(A=[math.nan])), {})
    assert found.cases == 0
    assert math.isnan(found.best_mean)
