"""What is left of a job, from every combination of nnU-Net's files."""

from __future__ import annotations

import itertools
import os
import zipfile
from pathlib import Path

import pytest
import torch

from nnunet_spine_ext.benchmark.jobs.state import (
    State,
    is_whole_checkpoint,
    set_aside_cut_files,
    state_of,
    take_newest_checkpoint,
)  # fmt: skip
from tests.benchmark.fake_training import write_checkpoint, write_summary

FILES = ("validation/summary.json", "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")
CONDITIONS = ("absent", "cut", "whole")


def make(fold: Path, conditions: tuple[str, ...]) -> None:
    for name, condition in zip(FILES, conditions, strict=True):
        file = fold / name
        if condition == "absent":
            continue
        (write_summary if name.endswith(".json") else write_checkpoint)(file)
        if condition == "cut":
            file.write_bytes(file.read_bytes()[:-20])


def expected(conditions: tuple[str, ...]) -> State:
    summary, final, latest, best = (condition == "whole" for condition in conditions)
    if summary:
        return State.DONE
    if final:
        return State.VALIDATE
    return State.CONTINUE if latest or best else State.FRESH


@pytest.mark.parametrize("conditions", list(itertools.product(CONDITIONS, repeat=4)), ids="-".join)
def test_state_from_every_combination_of_files(tmp_path: Path, conditions: tuple[str, ...]) -> None:
    fold = tmp_path / "fold_0"
    make(fold, conditions)
    assert state_of(fold) is expected(conditions)
    moved = set_aside_cut_files(fold)
    cut = {name for name, condition in zip(FILES[1:], conditions[1:], strict=True) if condition == "cut"}
    assert {file.name for file in moved} == {f"{name}.cut" for name in cut}
    assert not any((fold / name).exists() for name in cut)
    assert state_of(fold) is expected(conditions)  # setting aside changes nothing


def test_a_checkpoint_of_torch_is_whole_at_its_very_end_only(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint_final.pth"
    torch.save({"network_weights": torch.zeros(1000), "current_epoch": 3}, file)
    content = file.read_bytes()
    assert is_whole_checkpoint(file)
    for share in (0.0, 0.1, 0.5, 0.9, 0.99):
        file.write_bytes(content[: int(share * len(content))])
        assert not is_whole_checkpoint(file), share
    file.write_bytes(content[:-1])
    assert not is_whole_checkpoint(file)


def test_the_newest_checkpoint_is_the_one_to_go_on_from(tmp_path: Path) -> None:
    latest, best = tmp_path / "checkpoint_latest.pth", tmp_path / "checkpoint_best.pth"
    write_checkpoint(best, 30)
    assert not take_newest_checkpoint(tmp_path)  # nnU-Net takes the best by itself
    assert not latest.exists()
    write_checkpoint(latest, 50)
    os.utime(best, (1000, 1000))
    assert not take_newest_checkpoint(tmp_path)
    assert zipfile.ZipFile(latest).read("epoch") == b"50"
    write_checkpoint(best, 73)
    os.utime(latest, (1000, 1000))
    assert take_newest_checkpoint(tmp_path)
    assert zipfile.ZipFile(latest).read("epoch") == b"73"
    write_checkpoint(best, 1)  # the best is written anew in place: the latest must not change with it
    assert zipfile.ZipFile(latest).read("epoch") == b"73"
    os.utime(latest, (1000, 1000))
    best.write_bytes(b"cut")
    assert not take_newest_checkpoint(tmp_path)


def test_what_is_no_checkpoint_is_none(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_final.pth").mkdir()
    assert state_of(tmp_path) is State.FRESH
    assert state_of(tmp_path / "absent") is State.FRESH
