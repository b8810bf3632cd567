"""Robustness curves with a predictor that is no network: which cases, which folds, what is kept, what is redone."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from nnunet_spine_ext.benchmark.curves.cells import CellStore
from nnunet_spine_ext.benchmark.curves.perturbations import perturb
from nnunet_spine_ext.benchmark.curves.predicting import PredictionOptions, PredictionTask
from nnunet_spine_ext.benchmark.curves.robustness import run_robustness, usual_strengths
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.data.geometry import read_image, voxels
from nnunet_spine_ext.errors import DataError, SetupError, SpineExtError
from tests.benchmark.curves import FOLDS, FakePredictor, model, rows, train, write_raw
from tests.conftest import NnunetFolders

A, B = model("A"), model("B")
NOISE = {"noise": (90.0, 30.0)}


@pytest.fixture
def dataset(nnunet_folders: NnunetFolders) -> Path:
    train(nnunet_folders.results, A)
    train(nnunet_folders.results, B)
    return write_raw(nnunet_folders)


def measure(folder: Path, predictor: FakePredictor, models: tuple[Model, ...] = (A,), **more: object) -> Path:
    values = {"strengths": NOISE, "folds": (0, 1), "processes": 1, "predictor": predictor, **more}
    return run_robustness(models, 501, folder, **values)  # type: ignore[arg-type]


def test_each_case_is_predicted_by_the_fold_that_left_it_out(dataset: Path, tmp_path: Path) -> None:
    predictor = FakePredictor()
    options = PredictionOptions(device="cpu", workers=0, mirroring=False)
    measure(tmp_path, predictor, options=options)
    assert len(predictor.tasks) == 3 * 2  # as it is and two strengths, two folds
    for task, images in zip(predictor.tasks, predictor.images, strict=True):
        (fold,) = task.folds
        assert sorted(images) == [f"{case}_0000.nii.gz" for case in FOLDS[fold]]
        assert (task.model, task.dataset, task.checkpoint) == (A, "Dataset501_Fake", "checkpoint_final.pth")
        assert task.options == options


def test_table_holds_every_point_in_a_fixed_order(dataset: Path, tmp_path: Path) -> None:
    table = measure(tmp_path, FakePredictor(), (B, A))
    assert table == tmp_path / "robustness.csv"
    assert table.read_text().startswith("dataset,model,perturbation,strength,case,label,metric,value\n")
    found = rows(table)
    points = list(dict.fromkeys((r["model"], r["perturbation"], r["strength"]) for r in found))
    assert points == [(m, "noise", s) for m in "BA" for s in ("0.0", "30.0", "90.0")]
    assert {r["dataset"] for r in found} == {"Dataset501_Fake"}
    one = [r for r in found if (r["model"], r["strength"]) == ("A", "30.0")]
    assert list(dict.fromkeys(r["case"] for r in one)) == ["c1", "c3", "c0", "c2"]
    assert {r["metric"] for r in one} == {"dice", "iou"}
    assert {"S", "L5", "union of structures"} == {r["label"] for r in one}


def dice(table: Path, strength: str) -> float:
    return fmean(float(r["value"]) for r in rows(table) if r["strength"] == strength and r["metric"] == "dice")


def test_curve_begins_with_the_image_as_it_is_and_falls(dataset: Path, tmp_path: Path) -> None:
    table = measure(tmp_path, FakePredictor())
    assert dice(table, "0.0") == 1.0
    assert dice(table, "0.0") > dice(table, "30.0") > dice(table, "90.0")


def test_every_perturbation_begins_with_the_image_as_it_is_at_its_neutral_strength(
    dataset: Path, tmp_path: Path
) -> None:
    predictor = FakePredictor()
    table = measure(tmp_path, predictor, strengths={"thickness": [2], "blur": [1]})
    assert len(predictor.tasks) == 3 * 2
    points = list(dict.fromkeys((r["perturbation"], r["strength"]) for r in rows(table)))
    assert points == [("blur", "0.0"), ("blur", "1.0"), ("thickness", "1.0"), ("thickness", "2.0")]


def test_network_sees_the_perturbed_images(dataset: Path, tmp_path: Path) -> None:
    predictor = FakePredictor()
    measure(tmp_path, predictor, strengths={"noise": [50]}, seed=3)
    original = voxels(read_image(dataset / "imagesTr" / "c1_0000.nii.gz"))
    assert np.array_equal(predictor.images[0]["c1_0000.nii.gz"], original)
    expected = perturb(
        original, spacing_zyx_mm=(4, 1, 1), perturbation="noise", strength=50, case="c1", channel=0, seed=3
    )
    assert np.array_equal(predictor.images[2]["c1_0000.nii.gz"], expected)
    assert predictor.images[2]["c1_0000.nii.gz"].dtype == original.dtype


def test_all_models_see_the_same_images(dataset: Path, tmp_path: Path) -> None:
    predictor = FakePredictor()
    measure(tmp_path, predictor, (A, B), strengths={"noise": [50]})
    first, second = predictor.images[:4], predictor.images[4:]
    for ours, theirs in zip(first, second, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_every_channel_is_perturbed(nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    train(nnunet_folders.results, A)
    write_raw(nnunet_folders, channels=2)
    found: list[dict[str, np.ndarray]] = []

    def look(task: PredictionTask) -> None:
        found.append({f.name: voxels(read_image(f)) for f in sorted(task.images.iterdir())})
        FakePredictor()(task)

    measure(tmp_path, look, strengths={"noise": [50]}, folds=(0,))  # type: ignore[arg-type]
    whole, noisy = found
    assert list(noisy) == [f"{case}_000{channel}.nii.gz" for case in ("c1", "c3") for channel in (0, 1)]
    assert all(not np.array_equal(whole[name], noisy[name]) for name in noisy)
    assert not np.array_equal(noisy["c1_0000.nii.gz"], noisy["c1_0001.nii.gz"])


def test_test_images_are_predicted_by_all_folds_together(dataset: Path, tmp_path: Path) -> None:
    predictor = FakePredictor()
    table = measure(tmp_path, predictor, subset="test")
    assert [task.folds for task in predictor.tasks] == [(0, 1)] * 3
    assert {r["case"] for r in rows(table)} == {"t0", "t1"}


# ---- what is kept ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [0, 7])
def test_stopped_run_goes_on_and_ends_with_the_same_bytes(dataset: Path, tmp_path: Path, stop_at: int) -> None:
    undisturbed = measure(tmp_path / "other", FakePredictor(), (A, B)).read_bytes()
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path / "one", FakePredictor(stop_at=stop_at), (A, B))
    assert not list((tmp_path / "one").rglob(".scratch*"))
    again = FakePredictor()
    assert measure(tmp_path / "one", again, (A, B)).read_bytes() == undisturbed
    assert len(again.tasks) == 12 - stop_at
    nothing = FakePredictor()
    assert measure(tmp_path / "one", nothing, (A, B)).read_bytes() == undisturbed
    assert nothing.tasks == []


def _measure_and_die(folder: Path) -> None:
    class Killed(FakePredictor):
        def __call__(self, task: PredictionTask) -> None:
            super().__call__(task)
            if len(self.tasks) == 3:
                os.kill(os.getpid(), signal.SIGKILL)

    measure(folder, Killed())


def test_killed_run_goes_on_and_leaves_nothing_behind(dataset: Path, tmp_path: Path) -> None:
    killed = multiprocessing.get_context("spawn").Process(target=_measure_and_die, args=(tmp_path,))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert list(tmp_path.rglob(".scratch*/predictions/*.nii.gz"))
    again = FakePredictor()
    table = measure(tmp_path, again)
    assert len(again.tasks) == 4  # the third was not measured yet
    assert not list(tmp_path.rglob(".scratch*"))
    assert table.read_bytes() == measure(tmp_path / "other", FakePredictor()).read_bytes()


def test_fold_trained_anew_is_predicted_anew(dataset: Path, nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    measure(tmp_path, FakePredictor())
    cells = len(list(tmp_path.rglob("fold_*.csv")))
    train(nnunet_folders.results, A, folds=(1,), weights="better")
    again = FakePredictor()
    measure(tmp_path, again)
    assert [task.folds for task in again.tasks] == [(1,)] * 3
    assert len(list(tmp_path.rglob("fold_*.csv"))) == cells


def test_other_settings_are_measured_anew_and_corrected_references_too(dataset: Path, tmp_path: Path) -> None:
    measure(tmp_path, FakePredictor())
    for more in ({"seed": 1}, {"options": PredictionOptions(mirroring=False)}, {"metrics": ["dice"]}):
        again = FakePredictor()
        measure(tmp_path, again, **more)
        assert len(again.tasks) == 6, more
    measure(tmp_path, FakePredictor())
    reference = dataset / "labelsTr" / "c1.nii.gz"
    reference.write_bytes((dataset / "labelsTr" / "c3.nii.gz").read_bytes())
    again = FakePredictor()
    measure(tmp_path, again)
    assert [task.folds for task in again.tasks] == [(0,)] * 3


def test_points_measured_before_stay_in_the_table(dataset: Path, tmp_path: Path) -> None:
    measure(tmp_path, FakePredictor())
    again = FakePredictor()
    table = measure(tmp_path, again, strengths={"blur": [2], "noise": [10]})
    assert len(again.tasks) == 4
    points = list(dict.fromkeys((r["perturbation"], float(r["strength"])) for r in rows(table)))
    assert points == [("noise", 0), ("noise", 10), ("noise", 30), ("noise", 90), ("blur", 0), ("blur", 2)]


def test_point_is_in_the_table_when_all_its_folds_are_done(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, FakePredictor(stop_at=5))
    # As it is and 30 are done; of 90 only fold 0.
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, FakePredictor(stop_at=0))
    assert {r["strength"] for r in rows(tmp_path / "robustness.csv")} == {"0.0", "30.0"}


def test_new_title_needs_no_new_prediction(dataset: Path, tmp_path: Path) -> None:
    measure(tmp_path, FakePredictor())
    again = FakePredictor()
    table = measure(tmp_path, again, (model("Renamed", trainer="ATrainer"),))
    assert again.tasks == []
    assert {r["model"] for r in rows(table)} == {"Renamed"}


def test_model_that_fails_does_not_stop_the_others(dataset: Path, tmp_path: Path) -> None:
    predictor = FakePredictor(refuse="A")
    with pytest.raises(SpineExtError, match=r"(?s)what is done is in .*robustness\.csv.*A: the network does not load"):
        measure(tmp_path, predictor, (A, B))
    assert [task.model.title for task in predictor.tasks] == ["A", *["B"] * 6]
    assert {r["model"] for r in rows(tmp_path / "robustness.csv")} == {"B"}
    assert not list(tmp_path.rglob(".scratch*"))


# ---- refusals ----------------------------------------------------------------------------------------------------


def test_untrained_folds_are_all_named(dataset: Path, nnunet_folders: NnunetFolders, tmp_path: Path) -> None:
    with pytest.raises(SetupError) as refused:
        measure(tmp_path, FakePredictor(), (A, model("C"), model("D")))
    assert str(refused.value).count("checkpoint_final.pth") == 4
    assert not (tmp_path / "robustness.csv").exists()


def test_second_run_in_the_same_folder_is_refused(dataset: Path, tmp_path: Path) -> None:
    with (
        CellStore(folder=tmp_path / "robustness" / "validation").held(),
        pytest.raises(SetupError, match="Another run works in"),
    ):
        measure(tmp_path, FakePredictor())


def test_missing_files_are_all_named(dataset: Path, tmp_path: Path) -> None:
    (dataset / "imagesTr" / "c1_0000.nii.gz").unlink()
    (dataset / "labelsTr" / "c2.nii.gz").unlink()
    with pytest.raises(DataError, match=r"(?s)2 findings.*c1_0000\.nii\.gz.*c2\.nii\.gz"):
        measure(tmp_path, FakePredictor())


def test_fold_that_is_not_there_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="holds 2 folds; there is no fold 2, 3"):
        measure(tmp_path, FakePredictor(), folds=(0, 1, 2, 3))


def test_unknown_names_are_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(SpineExtError, match="No perturbation is called fog; there are noise, blur"):
        usual_strengths(["noise", "fog"])
    with pytest.raises(SpineExtError, match="'fog'"):
        measure(tmp_path, FakePredictor(), strengths={"fog": [1]})
    with pytest.raises(SpineExtError, match="No metric is called dise"):
        measure(tmp_path, FakePredictor(), metrics=["dise"])


def test_usual_strengths_are_those_of_the_table() -> None:
    assert usual_strengths(["noise"]) == {"noise": (10, 30, 50, 70, 90)}
    assert list(usual_strengths()) == ["noise", "blur", "bias", "motion", "ghosting", "thickness"]
