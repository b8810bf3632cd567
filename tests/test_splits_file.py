"""nnU-Net's folds: which cases each validates, and what is said about a file that tells no folds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunet_spine_ext.data.splits_file import SPLITS_FILE, read_validation_cases
from nnunet_spine_ext.errors import DataError, SetupError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    splits = [{"train": ["a", "b"], "val": ["d", "c"]}, {"train": ["c", "d"], "val": ["a", "b"]}]
    (tmp_path / SPLITS_FILE).write_text(json.dumps(splits))
    return tmp_path / SPLITS_FILE


def test_validation_cases_stand_in_the_order_of_the_file(file: Path) -> None:
    assert read_validation_cases(file) == [["d", "c"], ["a", "b"]]
    assert read_validation_cases(file, folds=(1,)) == [["a", "b"]]


@pytest.mark.parametrize(("folds", "absent"), [((0, 2, 5), "2, 5"), ((-1,), "-1")])
def test_folds_that_are_not_there_are_named(file: Path, folds: tuple[int, ...], absent: str) -> None:
    with pytest.raises(SetupError, match=rf"splits_final\.json holds 2 folds; there is no fold {absent}\."):
        read_validation_cases(file, folds=folds)


def test_a_missing_file_is_said_to_come_with_the_first_training(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"splits_final\.json is missing: nnU-Net writes it when it trains"):
        read_validation_cases(tmp_path / SPLITS_FILE)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('[{"train": ["a"], "va', "is no JSON"),
        ('{"train": ["a"], "val": ["b"]}', "is no list of folds"),
        ('[{"train": ["a"]}]', "is no list of folds"),
        ('[{"train": ["a"], "val": "b"}]', "is no list of folds"),
        ("[[]]", "is no list of folds"),
    ],
)
def test_a_cut_or_odd_file_is_a_finding(file: Path, content: str, found: str) -> None:
    file.write_text(content)
    with pytest.raises(DataError, match=rf"splits_final\.json: {found}.* Mend it"):
        read_validation_cases(file)
