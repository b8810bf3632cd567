from __future__ import annotations

import pickle
from collections import Counter
from itertools import pairwise

import pytest

from nnunet_spine_ext.training.sampling import BatchSchedule, EpochSubsets

CASES = tuple(f"case{i}" for i in range(138))
PAPER = EpochSubsets(cases=CASES, fraction=0.4, windows_per_case=16, seed=0)


def schedule(*, first_epoch: int = 0, rank: int = 0, ranks: int = 1) -> BatchSchedule:
    return BatchSchedule(
        subsets=PAPER,
        first_epoch=first_epoch,
        iterations_per_epoch=PAPER.iterations(8),
        global_batch_size=8,
        share=slice(rank, None, ranks),
    )


def test_arithmetic_of_the_paper() -> None:
    # 40 % of 138 cases are 55.2; 55 cases x 16 windows = 880 windows = 110 batches of 8.
    assert PAPER.cases_per_epoch == 55
    assert PAPER.iterations(8) == 110
    assert PAPER.iterations(7) == 126


def test_an_epoch_visits_its_cases_equally_often() -> None:
    visits = Counter(PAPER.windows(0))
    assert len(visits) == 55
    assert set(visits.values()) == {16}


def test_every_epoch_draws_anew_and_all_cases_come() -> None:
    epochs = [frozenset(PAPER.windows(e)) for e in range(30)]
    assert all(first != second for first, second in pairwise(epochs))
    assert frozenset().union(*epochs) == frozenset(CASES)


def test_windows_are_mixed() -> None:
    # In case order the first batch would hold one case only.
    assert len(set(PAPER.batch(epoch=0, iteration=0, batch_size=8))) > 3


def test_the_draw_depends_on_seed_and_epoch_alone() -> None:
    other = EpochSubsets(cases=CASES, fraction=0.4, windows_per_case=16, seed=1)
    assert PAPER.windows(3) == pickle.loads(pickle.dumps(PAPER)).windows(3)
    assert PAPER.windows(3) != other.windows(3)


def test_batches_of_an_epoch_are_its_windows_in_order() -> None:
    batches = [PAPER.batch(epoch=2, iteration=i, batch_size=8) for i in range(110)]
    assert [case for batch in batches for case in batch] == PAPER.windows(2)


def test_an_unfilled_last_batch_goes_on_with_the_first_windows() -> None:
    three = EpochSubsets(cases=("a", "b", "c"), fraction=1, windows_per_case=1, seed=0)
    windows = three.windows(0)
    assert three.iterations(2) == 2
    assert three.batch(epoch=0, iteration=1, batch_size=2) == [windows[2], windows[0]]


def test_schedule_crosses_into_the_next_epoch_without_being_told() -> None:
    last, following = schedule().cases(109), schedule().cases(110)
    assert last == PAPER.batch(epoch=0, iteration=109, batch_size=8)
    assert following == PAPER.batch(epoch=1, iteration=0, batch_size=8)


def test_a_continued_training_goes_on_as_if_undisturbed() -> None:
    undisturbed = [schedule().cases(n) for n in range(5 * 110, 6 * 110)]
    continued = [schedule(first_epoch=5).cases(n) for n in range(110)]
    assert continued == undisturbed


@pytest.mark.parametrize(("ranks", "sizes"), [(2, [4, 4]), (3, [3, 3, 2])])
def test_gpus_share_a_batch_without_overlap(ranks: int, sizes: list[int]) -> None:
    # nnU-Net gives the first GPUs one sample more when the batch does not divide.
    parts = [schedule(rank=r, ranks=ranks).cases(7) for r in range(ranks)]
    assert [len(p) for p in parts] == sizes
    assert Counter(c for p in parts for c in p) == Counter(schedule().cases(7))


@pytest.mark.parametrize(
    ("cases", "fraction", "windows"), [((), 0.4, 16), (CASES, 0, 16), (CASES, 1.1, 16), (CASES, 1, 0)]
)
def test_impossible_subsets_are_refused(cases: tuple[str, ...], fraction: float, windows: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        EpochSubsets(cases=cases, fraction=fraction, windows_per_case=windows, seed=0)


def test_few_cases_give_at_least_one() -> None:
    assert EpochSubsets(cases=("a",), fraction=0.4, windows_per_case=16, seed=0).cases_per_epoch == 1
