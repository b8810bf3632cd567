"""Folds: every case validated once, patients whole, rare structures spread, always the same."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_spine_ext.data.splits import SplitCase, fold_table, patient_folds
from tests.conftest import REPOSITORY

STRUCTURES = (
    "S", "L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9",
    "L5/S", "L4/L5", "L3/L4", "L2/L3", "L1/L2", "T12/L1", "T11/T12", "T10/T11", "T9/T10",
)  # fmt: skip
# How many of the 172 training cases of MRSpineSeg lack which structures.
ABSENT = (
    (97, ("T10", "T9", "T10/T11", "T9/T10")),
    (29, ("T9", "T9/T10")),
    (22, ("T10", "T9", "T9/T10")),
    (8, ()),
    (5, ("T9",)),
    (5, ("T11", "T10", "T9", "T10/T11", "T9/T10")),
    (4, ("T11", "T10", "T9", "T11/T12", "T10/T11", "T9/T10")),
    (1, ("T12", "T11", "T10", "T9", "T11/T12", "T10/T11", "T9/T10")),
    (1, ("T9", "T10/T11", "T9/T10")),
)


def challenge(seed: int = 0) -> list[SplitCase]:
    """172 cases with the challenge's patterns, dealt to ids at random."""
    patterns = [absent for count, absent in ABSENT for _ in range(count)]
    random.Random(seed).shuffle(patterns)
    return [
        SplitCase(case=f"Case{i:03d}", patient=f"Case{i:03d}", structures=[s for s in STRUCTURES if s not in absent])
        for i, absent in enumerate(patterns)
    ]


def validated(cases: Sequence[SplitCase], splits: Sequence[dict[str, list[str]]], structure: str) -> list[int]:
    """Count, by hand, the validation cases with a structure in each fold."""
    having = {case.case for case in cases if structure in case.structures}
    return [sum(case in having for case in split["val"]) for split in splits]


def test_table_of_patterns_is_the_published_one() -> None:
    counts = Counter(s for case in challenge() for s in case.structures)
    assert len(challenge()) == 172
    assert {s: counts[s] for s in ("T9", "T9/T10", "T10", "T10/T11", "T11", "T12")} == {
        "T9": 8, "T9/T10": 13, "T10": 43, "T10/T11": 64, "T11": 162, "T12": 171,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_every_structure_of_the_challenge_is_spread_evenly(seed: int) -> None:
    cases = challenge(seed)
    splits = patient_folds(cases, seed=seed)
    assert len(splits) == 5
    for structure in STRUCTURES:
        counts = validated(cases, splits, structure)
        assert max(counts) - min(counts) <= 1, structure
    assert sorted(len(split["val"]) for split in splits) == [34, 34, 34, 35, 35]


def test_random_folds_would_not_do() -> None:
    """Shows that the test above can fail: plain folds of the same cases are uneven."""
    cases = challenge()
    plain: list[dict[str, list[str]]] = [{"val": [case.case for case in cases[fold::5]]} for fold in range(5)]
    counts = {structure: validated(cases, plain, structure) for structure in STRUCTURES}
    assert [s for s, c in counts.items() if max(c) - min(c) > 1]


def test_every_case_is_validated_once_and_trained_on_otherwise() -> None:
    cases = challenge()
    splits = patient_folds(cases)
    everyone = sorted(case.case for case in cases)
    assert sorted(c for split in splits for c in split["val"]) == everyone
    for split in splits:
        assert sorted(split["train"] + split["val"]) == everyone
        assert split["val"] == sorted(split["val"])


def test_order_of_the_cases_does_not_matter_but_the_seed_does() -> None:
    cases = challenge()
    assert patient_folds(cases[::-1]) == patient_folds(cases)
    assert patient_folds(cases, seed=1) != patient_folds(cases)


def test_folds_are_the_same_in_every_process() -> None:
    """Python's own hashes of strings, hence the order of sets, differ from process to process."""
    code = "from tests.test_splits import *; print(patient_folds(challenge()))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=REPOSITORY,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {f"{patient_folds(challenge())}\n".encode()}


def test_fewer_patients_than_folds_leave_one_out() -> None:
    cases = [SplitCase(case=f"{p}{i}", patient=p) for p in "ab" for i in range(3)]
    splits = patient_folds(cases)
    assert sorted(split["val"] for split in splits) == [["a0", "a1", "a2"], ["b0", "b1", "b2"]]


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ([SplitCase(case="a", patient="a")], "at least 2 patients, got 1"),
        ([SplitCase(case="a", patient="a"), SplitCase(case="a", patient="b")], "share an id"),
    ],
)
def test_impossible_folds(cases: list[SplitCase], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        patient_folds(cases)


@pytest.mark.parametrize("others", [0, 1, 30])
def test_patients_are_validated_in_the_folds_given_to_them(others: int) -> None:
    given = {"a": 3, "b": 0, "c": 1, "d": 2}
    cases = [SplitCase(case=name, patient=name, fold=fold) for name, fold in given.items()]
    cases += [SplitCase(case=f"x{i}", patient=f"x{i}") for i in range(others)]
    splits = patient_folds(cases)
    assert [min(split["val"]) for split in splits[:4]] == ["b", "c", "d", "a"]
    assert max(len(s["val"]) for s in splits) - min(len(s["val"]) for s in splits) <= 1


def test_a_given_fold_that_there_is_not_is_no_matter() -> None:
    cases = [SplitCase(case=name, patient=name, fold=fold) for name, fold in {"a": 1, "b": 2}.items()]
    assert [split["val"] for split in patient_folds(cases)] == [["b"], ["a"]]


def test_given_folds_that_leave_one_empty_are_refused() -> None:
    with pytest.raises(ValueError, match="fold 1 would validate no case"):
        patient_folds([SplitCase(case=name, patient=name, fold=0) for name in "ab"])


def test_table_counts_validation_cases_and_structures() -> None:
    cases = [
        SplitCase(case="a", patient="a", structures=("S", "T9")),
        SplitCase(case="b", patient="b", structures=("S",)),
        SplitCase(case="c", patient="c", structures=("S",)),
    ]
    splits = [{"train": ["b", "c"], "val": ["a"]}, {"train": ["a"], "val": ["b", "c"]}]
    assert fold_table(cases, splits) == [{"cases": 1, "S": 1, "T9": 1}, {"cases": 2, "S": 2, "T9": 0}]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.sets(st.sampled_from("xyz"))), min_size=2, max_size=40))
def test_patients_stay_whole_whatever_the_cases(rows: list[tuple[int, set[str]]]) -> None:
    cases = [SplitCase(case=f"c{i}", patient=f"p{p}", structures=tuple(s)) for i, (p, s) in enumerate(rows)]
    patients = {case.patient for case in cases}
    if len(patients) < 2:
        return
    splits = patient_folds(cases)
    patient_of = {case.case: case.patient for case in cases}
    assert len(splits) == min(5, len(patients))
    assert sorted(c for split in splits for c in split["val"]) == sorted(patient_of)
    for split in splits:
        assert split["val"]
        assert not {patient_of[c] for c in split["val"]} & {patient_of[c] for c in split["train"]}
