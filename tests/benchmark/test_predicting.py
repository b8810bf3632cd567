"""How nnU-Net is called for curves: its arguments, its environment, its failures, cascades."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark.curves.predicting import PredictionOptions, PredictionTask, predict, predict_apart
from nnunet_spine_ext.errors import SpineExtError
from tests.benchmark.curves import NAME, model

TASK = PredictionTask(
    model=model("A"), dataset=NAME, folds=(0, 3), images=Path("in"), output=Path("out"), results=Path("results")
)


def test_arguments_are_nnunets() -> None:
    assert TASK.arguments == [
        *("-i", "in", "-o", "out", "-d", NAME, "-tr", "ATrainer", "-p", "nnUNetPlans", "-c", "3d_fullres"),
        *("-f", "0", "3", "-chk", "checkpoint_final.pth", "-device", "cuda", "-npp", "2", "-nps", "2"),
    ]
    options = PredictionOptions(device="cpu", workers=0, mirroring=False)
    task = replace(TASK, options=options, checkpoint="checkpoint_epoch_0010.pth", previous_stage=Path("before"))
    for part in (
        "-chk checkpoint_epoch_0010.pth",
        "-device cpu -npp 0 -nps 0 --disable_tta",
        "-prev_stage_predictions before",
    ):
        assert part in " ".join(task.arguments)


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python that runs what comes after the supervisor as a script of ours would: it prints and fails on demand."""
    script = tmp_path / "python"
    script.write_text(
        f'#!/bin/sh\necho "$nnUNet_results $@" >> {tmp_path}/calls\n'
        'case "$*" in *BrokenTrainer*) echo "Traceback"; echo "RuntimeError: no such weights"; exit 3;; esac\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    return tmp_path / "calls"


def test_nnunet_runs_supervised_and_finds_the_results(python: Path, tmp_path: Path) -> None:
    predict_apart(replace(TASK, output=tmp_path / "out"))
    call = python.read_text()
    assert call.startswith("results -m nnunet_spine_ext.benchmark.jobs.supervisor ")
    assert "-m nnunet_spine_ext predict -i in -o " in call


def test_failure_tells_what_nnunet_said(python: Path, tmp_path: Path) -> None:
    task = replace(TASK, output=tmp_path / "out", model=model("Broken"))
    with pytest.raises(SpineExtError, match=r"Broken: the prediction ended with exit code 3\.\nRuntimeError: no such"):
        predict_apart(task)


def test_cascade_predicts_the_stage_before_first(tmp_path: Path) -> None:
    cascade = replace(model("A"), configuration="3d_cascade_fullres")
    task = replace(
        TASK, model=cascade, results=tmp_path, output=tmp_path / "out", checkpoint="checkpoint_epoch_0010.pth"
    )
    task.model_folder.mkdir(parents=True)
    plans = {
        "3d_lowres": {},
        "3d_fullres": {},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        "narrow": {"inherits_from": "3d_cascade_fullres"},
    }
    (task.model_folder / "plans.json").write_text(json.dumps({"configurations": plans}))
    asked: list[PredictionTask] = []
    predict(task, asked.append)
    before, last = asked
    assert (before.model.configuration, before.output.name) == ("3d_lowres", "out_3d_lowres")
    assert (before.checkpoint, before.folds, before.previous_stage) == ("checkpoint_final.pth", (0, 3), None)
    assert last == replace(task, previous_stage=before.output)


def test_other_configurations_are_predicted_at_once(tmp_path: Path) -> None:
    asked: list[PredictionTask] = []
    predict(replace(TASK, results=tmp_path), asked.append)
    assert asked == [replace(TASK, results=tmp_path)]
