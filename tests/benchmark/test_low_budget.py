"""Low-budget curves: kept checkpoints predicted one by one, nnU-Net's own estimates, seeds, what is redone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from nnunet_spine_ext.benchmark.curves.low_budget import run_low_budget
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.errors import SpineExtError
from tests.benchmark.curves import NAME, FakePredictor, model, rows, write_raw
from tests.conftest import NnunetFolders

OURS, STOCK = model("Ours"), model("Stock", baseline=True)


def train(
    results: Path, trained: Model, fold: int, *, estimates: list[float], kept: tuple[int, ...] = (), name: str = "final"
) -> Path:
    """Write checkpoints as nnU-Net does, as far as their logging goes."""
    folder = results / NAME / trained.folder_name / f"fold_{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    for epochs, file in [(len(estimates), f"checkpoint_{name}"), *((n, f"checkpoint_epoch_{n:04d}") for n in kept)]:
        logging = {"mean_fg_dice": [np.float32(value) for value in estimates[:epochs]], "lrs": [0.1] * epochs}
        weights = {"w": torch.full((2,), float(epochs + 100 * fold))}
        torch.save({"logging": logging, "network_weights": weights}, folder / f"{file}.pth")
    return folder


@pytest.fixture
def dataset(nnunet_folders: NnunetFolders) -> Path:
    for fold in (0, 1):
        train(nnunet_folders.results, OURS, fold, estimates=[0.25, 0.5, 0.75], kept=(1, 2))
        train(nnunet_folders.results, STOCK, fold, estimates=[0.5, math.nan])
    return write_raw(nnunet_folders)


def measure(folder: Path, predictor: FakePredictor, models: tuple[Model, ...] = (OURS, STOCK), **more: object) -> Path:
    values = {"folds": (0, 1), "processes": 1, "predictor": predictor, **more}
    return run_low_budget(models, 501, folder, **values)  # type: ignore[arg-type]


def test_every_kept_checkpoint_and_the_final_one_are_predicted(dataset: Path, tmp_path: Path) -> None:
    predictor = FakePredictor()
    table = measure(tmp_path, predictor)
    assert [(task.model, task.folds, task.checkpoint) for task in predictor.tasks] == [
        (OURS, (fold,), f"checkpoint_{name}.pth") for fold in (0, 1) for name in ("epoch_0001", "epoch_0002", "final")
    ]
    assert sorted(predictor.images[0]) == ["c1_0000.nii.gz", "c3_0000.nii.gz"]
    assert table.read_text().startswith("dataset,model,fold,seed,epoch,case,label,metric,value\n")
    measured = [r for r in rows(table) if r["metric"] == "dice" and r["label"] == "L5"]
    assert [(r["model"], r["fold"], r["seed"], r["epoch"], r["case"], r["value"]) for r in measured] == [
        ("Ours", str(fold), "0", str(epoch), case, "1.0")
        for fold, cases in enumerate((("c1", "c3"), ("c0", "c2")))
        for epoch in (1, 2, 3)
        for case in cases
    ]


def test_estimates_are_there_for_every_model_and_marked(dataset: Path, tmp_path: Path) -> None:
    found = [r for r in rows(measure(tmp_path, FakePredictor())) if r["metric"] == "pseudo_dice"]
    assert [(r["model"], r["fold"], r["epoch"], r["value"]) for r in found] == [
        *(
            ("Ours", fold, epoch, value)
            for fold in "01"
            for epoch, value in (("1", "0.25"), ("2", "0.5"), ("3", "0.75"))
        ),
        *(("Stock", fold, epoch, value) for fold in "01" for epoch, value in (("1", "0.5"), ("2", ""))),
    ]
    assert {(r["case"], r["label"]) for r in found} == {("", "all structures")}


def test_six_metrics_of_paper_001_are_kept(dataset: Path, tmp_path: Path) -> None:
    found = {r["metric"] for r in rows(measure(tmp_path, FakePredictor()))}
    assert found == {"dice", "iou", "sensitivity", "specificity", "accuracy", "mse", "pseudo_dice"}


def test_final_checkpoint_that_was_kept_is_predicted_once(nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    write_raw(nnunet_folders)
    train(nnunet_folders.results, OURS, 0, estimates=[0.1, 0.2], kept=(1, 2))
    predictor = FakePredictor()
    measure(tmp_path, predictor, (OURS,), folds=(0,))
    assert [task.checkpoint for task in predictor.tasks] == ["checkpoint_epoch_0001.pth", "checkpoint_epoch_0002.pth"]


def test_training_under_way_shows_what_there_is(nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    write_raw(nnunet_folders)
    folder = train(nnunet_folders.results, OURS, 0, estimates=[0.1, 0.2], kept=(1,), name="latest")
    half = nnunet_folders.results / NAME / OURS.folder_name / "fold_1"
    half.mkdir()
    (half / "checkpoint_latest.pth").write_bytes((folder / "checkpoint_latest.pth").read_bytes()[:200])  # being written
    predictor = FakePredictor()
    table = measure(tmp_path, predictor)
    assert [task.checkpoint for task in predictor.tasks] == ["checkpoint_epoch_0001.pth"]
    assert {(r["model"], r["fold"]) for r in rows(table)} == {("Ours", "0")}


def test_nothing_trained_is_an_empty_table(nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    write_raw(nnunet_folders)
    assert rows(measure(tmp_path, FakePredictor())) == []


def test_further_seeds_lie_in_the_comparison(dataset: Path, nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    other = tmp_path / "seeds" / "7" / "nnUNet_results"
    train(other, OURS, 0, estimates=[0.3], kept=(1,))
    predictor = FakePredictor()
    table = measure(tmp_path, predictor, (OURS,), folds=(0,), seeds=(0, 7))
    assert [task.results for task in predictor.tasks] == [nnunet_folders.results] * 3 + [other]
    assert list(dict.fromkeys(r["seed"] for r in rows(table))) == ["0", "7"]


@pytest.mark.parametrize("stop_at", [0, 5])
def test_stopped_run_goes_on_and_ends_with_the_same_bytes(dataset: Path, tmp_path: Path, stop_at: int) -> None:
    undisturbed = measure(tmp_path / "other", FakePredictor()).read_bytes()
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path / "one", FakePredictor(stop_at=stop_at))
    again = FakePredictor()
    assert measure(tmp_path / "one", again).read_bytes() == undisturbed
    assert len(again.tasks) == 6 - stop_at
    nothing = FakePredictor()
    measure(tmp_path / "one", nothing)
    assert nothing.tasks == []


def test_checkpoint_that_changed_is_predicted_anew(
    dataset: Path, nnunet_folders: NnunetFolders, tmp_path: Path
) -> None:
    measure(tmp_path, FakePredictor())
    train(nnunet_folders.results, OURS, 1, estimates=[0.25, 0.5, 0.9], kept=(1,))  # only the final one is another
    again = FakePredictor()
    table = measure(tmp_path, again)
    assert [(task.folds, task.checkpoint) for task in again.tasks] == [((1,), "checkpoint_final.pth")]
    estimates = [r["value"] for r in rows(table) if r["metric"] == "pseudo_dice" and r["model"] == "Ours"]
    assert [float(value) for value in estimates] == pytest.approx([0.25, 0.5, 0.75, 0.25, 0.5, 0.9])


def test_failures_are_told_at_the_end(dataset: Path, tmp_path: Path) -> None:
    predictor = FakePredictor(refuse="Ours")
    with pytest.raises(SpineExtError, match=r"(?s)what is done is in .*budget\.csv.*the network does not load"):
        measure(tmp_path, predictor)
    assert len(predictor.tasks) == 6
    assert {r["metric"] for r in rows(tmp_path / "budget.csv")} == {"pseudo_dice"}


def test_unknown_metric_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(SpineExtError, match="No metric is called dise"):
        measure(tmp_path, FakePredictor(), metrics=["dise"])
