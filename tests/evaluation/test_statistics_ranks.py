"""Bootstrap ranks against scipy's ranks of naively resampled means."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import rankdata

from nnunet_spine_ext.evaluation.statistics import PairedScores, resample_indices
from nnunet_spine_ext.evaluation.statistics_ranks import bootstrap_ranks
from tests.evaluation.scores import table


def test_interval_of_ranks_ends_at_ranks_that_occurred() -> None:
    # Of 40 resamples one is 2.5 %: the lowest and the last but one of the sorted ranks are the ends.
    random = np.random.default_rng(0)
    scores = table(**{name: random.normal(0.8, 0.05, 15) for name in "ABCDEFGH"})
    means = np.array([scores.to_numpy()[row].mean(axis=0) for row in resample_indices(15, resamples=40, seed=0)])
    ranks = np.sort(rankdata(-means, method="min", axis=1), axis=0)
    assert (ranks[0] != ranks[1]).any()
    assert (ranks[38] != ranks[39]).any()
    found = bootstrap_ranks(PairedScores.of(scores, resamples=40))
    assert [(one.ci_low, one.ci_high) for one in found] == list(zip(ranks[0], ranks[38], strict=True))


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_ranks_are_scipys_of_every_resample(higher_is_better: bool) -> None:
    random = np.random.default_rng(0)
    scores = table(**{name: random.normal(0.8 + 0.01 * i, 0.05, 15) for i, name in enumerate("ABCD")})
    found = bootstrap_ranks(PairedScores.of(scores, resamples=500), higher_is_better=higher_is_better)
    sign = -1 if higher_is_better else 1
    values = scores.to_numpy()
    ranks = np.array(
        [rankdata(sign * values[row].mean(axis=0), method="min") for row in resample_indices(15, resamples=500, seed=0)]
    )
    whole = rankdata(sign * values.mean(axis=0), method="min")
    for i, one in enumerate(found):
        column = sorted(ranks[:, i].tolist())
        assert one.model == "ABCD"[i]
        assert one.rank == whole[i]
        assert one.mean_rank == pytest.approx(sum(column) / 500)
        assert one.shares == tuple(column.count(rank) / 500 for rank in (1, 2, 3, 4))
        # The 13th of 500 is the first with at least 2.5 % up to it, the 488th the first with 97.5 %.
        assert (one.ci_low, one.ci_high) == (column[12], column[487])


def test_equal_models_share_the_better_rank() -> None:
    values = [0.9, 0.7, 0.8]
    found = bootstrap_ranks(PairedScores.of(table(A=values, B=[0.1, 0.2, 0.3], C=values), resamples=50))
    assert [(one.rank, one.mean_rank, one.shares) for one in found] == [
        (1, 1.0, (1.0, 0.0, 0.0)),
        (3, 3.0, (0.0, 0.0, 1.0)),
        (1, 1.0, (1.0, 0.0, 0.0)),
    ]


def test_equal_means_of_different_cases_are_equal() -> None:
    # The same values in another order: their means differ in the last bit.
    a, b = [0.1, 0.2, 0.3], [0.3, 0.2, 0.1]
    scores = PairedScores.of(table(A=a, B=b))
    assert scores.means[0] != scores.means[1]
    assert [one.rank for one in bootstrap_ranks(scores)] == [1, 1]


def test_too_few_cases() -> None:
    (one,) = bootstrap_ranks(PairedScores.of(table(A=[0.5])))
    assert (one.rank, one.ci_low, one.ci_high, one.shares) == (1, None, None, (1.0,))
    (none,) = bootstrap_ranks(PairedScores.of(table(A=[math.nan])))
    assert (none.rank, none.ci_low, none.ci_high) == (None, None, None)
    assert math.isnan(none.mean_rank)
    assert all(math.isnan(share) for share in none.shares)
