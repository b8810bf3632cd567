"""nnU-Net's choice of the best model: who is asked about, and what is said about the answer."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from nnunet_spine_ext.benchmark import best
from nnunet_spine_ext.benchmark.comparison import Comparison
from tests.benchmark.fake import make_comparison, make_plan
from tests.benchmark.fake_training import write_summary

ANSWER = {
    "chosen": [{"trainer": "A", "plans": "nnUNetPlans", "configuration": "3d_fullres"}],
    "dice": 0.87654,
    "dice_postprocessed": 0.88,
    "all_results": {"A__nnUNetPlans__3d_fullres": 0.87654},
}


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    comparison = make_comparison(tmp_path, make_plan(trainers=["A", "B"], folds=[0, 1]))
    for job in comparison.jobs:
        write_summary(job.summary)
        summary = json.loads(job.summary.read_text())
        case = {"prediction_file": f"/elsewhere/validation/case{job.fold}.nii.gz", "metrics": {}}
        job.summary.write_text(json.dumps({**summary, "metric_per_case": [case]}))
        (job.validation / f"case{job.fold}.npz").touch()
    return comparison


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    requests: list[dict[str, Any]] = []

    def answer(_: Path, request: dict[str, Any]) -> dict[str, Any]:
        requests.append(request)
        return dict(ANSWER)

    monkeypatch.setattr(best, "_in_a_process", answer)
    return requests


def facts(comparison: Comparison) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((comparison.folder / "comparison.json").read_text())
    return content


def test_the_choice_stands_in_comparison_json_and_in_its_notes(
    comparison: Comparison, asked: list[dict[str, Any]]
) -> None:
    said = best.choose_best(comparison)
    assert said == (
        "nnU-Net's own choice (find_best_configuration): A, mean foreground Dice 0.8765, after its post-processing "
        "0.8800."
    )
    assert facts(comparison)["best"]["titles"] == ["A"]
    assert facts(comparison)["notes"][-1] == said
    assert asked[0]["ensembles"] is True
    assert asked[0]["folds"] == [0, 1]
    assert [model["trainer"] for model in asked[0]["models"]] == ["A", "B"]


def test_models_with_unfinished_folds_are_left_out(comparison: Comparison, asked: list[dict[str, Any]]) -> None:
    comparison.jobs[1].summary.unlink()  # B, fold 0
    assert "Left out, for want of finished folds: B." in best.choose_best(comparison)
    assert [model["trainer"] for model in asked[0]["models"]] == ["A"]


def test_without_probabilities_there_is_no_ensemble(comparison: Comparison, asked: list[dict[str, Any]]) -> None:
    (comparison.jobs[3].validation / "case1.npz").unlink()
    assert "No ensembles: B, fold 1 has no probabilities" in best.choose_best(comparison)
    assert asked[0]["ensembles"] is False


def test_nothing_finished_is_nothing_to_choose(comparison: Comparison, asked: list[dict[str, Any]]) -> None:
    for job in comparison.jobs:
        job.summary.unlink()
    assert "no model has all its folds" in best.choose_best(comparison)
    assert asked == []


def test_a_structure_in_no_validation_case_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*_: object, **__: object) -> None:
        raise IndexError("index 0 is out of bounds for axis 0 with size 0")

    fake = types.SimpleNamespace(find_best_configuration=raises)
    monkeypatch.setitem(sys.modules, "nnunetv2.evaluation.find_best_configuration", fake)
    request = {"dataset": "Dataset501_X", "models": [], "ensembles": False, "processes": 1, "folds": [0]}
    assert best._choose(request) == {"problem": best.ABSENT_STRUCTURE}


def test_a_failure_of_nnunet_is_told_with_its_last_words(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_raw", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    said = best.choose_best(comparison)
    assert "failed" in said
    assert str(comparison.folder / "logs" / "find_best.txt") in said
    assert facts(comparison)["notes"][-1] == said
