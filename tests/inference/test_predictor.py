"""`nnunet_spine predict` writes what nnUNetv2_predict writes: the same files, the same label maps, the same records."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import nnunetv2.inference.predict_from_raw_data as nnunet
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.utilities.utils import create_lists_from_splitted_dataset_folder

from nnunet_spine_ext.inference.predictor import LeanPredictor
from nnunet_spine_ext.inference.preprocessing import listed_cases, preprocessed_cases
from nnunet_spine_ext.inference.rebinding import RebindingError, rebound
from nnunet_spine_ext.training.entry import predict
from tests.conftest import NnunetFolders
from tests.inference.model import CASCADE, write_images, write_model, write_previous_stage

ALONE = ("-npp", "0", "-nps", "0")
THREADS = ("-npp", "2", "-nps", "3")
REGIONS = {"labels": {"background": 0, "spine": [1, 2], "L4": 2}, "regions_class_order": [1, 2]}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A model and images; both commands, with the same arguments."""

    root: Path
    configuration: str
    images: Path

    def arguments(self, out: str, *more: str) -> list[str]:
        always = ("-d", "901", "-c", self.configuration, "-f", "0", "1", "-device", "cpu", "--disable_progress_bar")
        # Few steps of the network, which is not what is tested.
        always += ("-step_size", "1", "--disable_tta")
        return ["-i", str(self.images), "-o", str(self.root / out), *always, *more]

    def nnunet(self, *more: str, out: str = "stock") -> Path:
        """Run nnUNetv2_predict's own function."""
        before, sys.argv = sys.argv, ["nnUNetv2_predict", *self.arguments(out, *more)]
        try:
            nnunet.predict_entry_point()
        finally:
            sys.argv = before
        return self.root / out

    def ours(self, *more: str, out: str = "ours") -> Path:
        predict(self.arguments(out, *more))
        return self.root / out


MakeJob = Callable[..., Job]


@pytest.fixture
def make_job(nnunet_folders: NnunetFolders, tmp_path: Path) -> MakeJob:
    def make(configuration: str = "3d_fullres", *, cases: int = 2, **dataset: Any) -> Job:
        write_model(nnunet_folders, configuration, **dataset)
        images = write_images(tmp_path / "images", cases=cases)
        return Job(root=tmp_path, configuration=configuration, images=images)

    return make


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "predict_from_raw_data_args.json").read_text())
    return {key: value for key, value in found.items() if not key.startswith(("output_folder", "num_processes"))}


def assert_same_folder(ours: Path, stock: Path, *, same_call: bool) -> None:
    """The same names; label maps equal in voxels, type and geometry; the same records."""
    assert sorted(p.name for p in ours.iterdir()) == sorted(p.name for p in stock.iterdir())
    maps = sorted(p.name for p in stock.glob("*.nii.gz"))
    assert maps
    for name in maps:
        one, two = (sitk.ReadImage(str(folder / name)) for folder in (ours, stock))
        assert one.GetPixelID() == two.GetPixelID()
        assert np.array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(two)), name
        for fact in ("GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(one, fact)() == getattr(two, fact)()
    for name in ("dataset.json", "plans.json"):
        assert (ours / name).read_bytes() == (stock / name).read_bytes()
    if same_call:
        assert record(ours) == record(stock)


def labels_in(folder: Path) -> set[int]:
    return {int(v) for p in folder.glob("*.nii.gz") for v in np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(p))))}


@pytest.mark.parametrize("dataset", [{}, REGIONS], ids=["labels", "regions"])
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_predicts_what_nnunet_predicts(
    make_job: MakeJob, configuration: str, dataset: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(configuration, **dataset)
    stock = job.nnunet(*ALONE)
    assert len(labels_in(stock)) > 1
    assert_same_folder(job.ours(*ALONE, out="alone"), stock, same_call=True)
    assert_same_folder(job.ours(*THREADS, out="threads"), stock, same_call=False)
    assert "nnU-Net's own" not in capsys.readouterr().out


def test_predicts_a_cascade(make_job: MakeJob) -> None:
    job = make_job(CASCADE)
    previous = write_previous_stage(job.root / "previous", job.images)
    more = ("-prev_stage_predictions", str(previous))
    stock = job.nnunet(*ALONE, *more)
    assert_same_folder(job.ours(*ALONE, *more, out="alone"), stock, same_call=True)
    assert_same_folder(job.ours(*THREADS, *more, out="threads"), stock, same_call=False)


@pytest.mark.slow
def test_the_record_is_that_of_nnunet_with_processes(make_job: MakeJob) -> None:
    job = make_job(cases=1)
    assert_same_folder(job.ours("-npp", "1", "-nps", "1"), job.nnunet("-npp", "1", "-nps", "1"), same_call=True)


@pytest.mark.parametrize("workers", [ALONE, THREADS], ids=["alone", "threads"])
def test_continues_where_maps_are_missing(make_job: MakeJob, workers: tuple[str, ...]) -> None:
    job = make_job(cases=3)
    out = job.ours(*workers)
    (out / "case1.nii.gz").unlink()
    times = {name: (out / name).stat().st_mtime_ns for name in ("case0.nii.gz", "case2.nii.gz")}
    job.ours(*workers, "--continue_prediction")
    assert (out / "case1.nii.gz").is_file()
    assert {name: (out / name).stat().st_mtime_ns for name in times} == times


def test_a_part_of_the_cases(make_job: MakeJob) -> None:
    out = make_job().ours(*THREADS, "-num_parts", "2", "-part_id", "1")
    assert [p.name for p in out.glob("*.nii.gz")] == ["case1.nii.gz"]
    assert record(out)["part_id"] == 1


def test_probabilities_are_left_to_nnunet_with_a_line(make_job: MakeJob, capsys: pytest.CaptureFixture[str]) -> None:
    job = make_job(cases=1)
    ours = job.ours(*ALONE, "--save_probabilities")
    assert "nnU-Net's own export" in capsys.readouterr().out
    stock = job.nnunet(*ALONE, "--save_probabilities")
    assert_same_folder(ours, stock, same_call=True)
    one, two = (np.load(folder / "case0.npz")["probabilities"] for folder in (ours, stock))
    assert np.array_equal(one, two)


def test_with_threads_too(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # nnU-Net's own processes are not started here; that they would be asked is enough.
    asked: list[Any] = []

    def play(self: Any, iterator: Iterator[Any], *more: Any) -> None:
        asked.append((next(iterator)["ofile"], *more))
        (self_folder / "case0.nii.gz").touch()

    job = make_job(cases=1)
    self_folder = job.root / "ours"
    monkeypatch.setattr(nnunet.nnUNetPredictor, "predict_from_data_iterator", play)
    job.ours(*THREADS, "--save_probabilities")
    assert asked == [(str(self_folder / "case0"), True, 3)]
    assert "nnU-Net's own export" in capsys.readouterr().out


# ---- failures ---------------------------------------------------------------------------------------------------


def test_an_unreadable_image_ends_the_run_and_its_threads(make_job: MakeJob) -> None:
    job = make_job()
    (job.images / "case1_0000.nii.gz").write_bytes(b"nothing")
    with pytest.raises(RuntimeError, match="case1_0000"):
        job.ours(*THREADS)
    assert not [t for t in threading.enumerate() if t.name.startswith("preprocessing")]


def test_a_failing_network_ends_the_threads(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA out of memory")

    job = make_job()
    monkeypatch.setattr(LeanPredictor, "predict_logits_from_preprocessed_data", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        job.ours(*THREADS)
    assert not [t for t in threading.enumerate() if t.name.startswith("preprocessing")]


def test_a_failed_write_leaves_no_file(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    def half(_: Any, labels: np.ndarray, name: str, *__: Any) -> None:
        Path(name).write_bytes(b"half")
        raise RuntimeError("killed")

    job = make_job(cases=1)
    monkeypatch.setattr(SimpleITKIO, "write_seg", half)
    with pytest.raises(RuntimeError, match="killed"):
        job.ours(*THREADS)
    assert sorted(p.name for p in (job.root / "ours").iterdir()) == [
        "dataset.json",
        "plans.json",
        "predict_from_raw_data_args.json",
    ]


def test_cases_are_listed_as_nnunet_lists_them(tmp_path: Path) -> None:
    names = ["b_0000.nii.gz", "a_0001.nii.gz", "a_0000.nii.gz", "a.b_0000.nii.gz", "aab_0000.nii.gz", "notes.txt"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "folder_0000.nii.gz").mkdir()
    listed = listed_cases(str(tmp_path), ".nii.gz")
    assert listed == create_lists_from_splitted_dataset_folder(str(tmp_path), ".nii.gz")
    assert sorted(Path(file).name for case in listed for file in case) == sorted(names[:-1])


def test_preprocessing_keeps_the_order_of_the_cases(make_job: MakeJob) -> None:
    job = make_job(cases=5)
    predictor = LeanPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(next((job.root / "nnUNet_results").glob("*/*"))), [0])
    files = [[str(p)] for p in sorted(job.images.iterdir())]
    cases = preprocessed_cases(
        files,
        [None] * 5,
        [str(i) for i in range(5)],
        plans=predictor.plans_manager,
        dataset_json=predictor.dataset_json,
        configuration=predictor.configuration_manager,
        threads=2,
    )
    assert [case["ofile"] for case in cases] == list("01234")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_logit_ends_the_run_as_in_nnunet(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    def one_infinity(_: Any, window: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(1, 3, *window.shape[2:])
        logits[0, 2, 1, 1, 1] = value
        return logits

    job = make_job(cases=1)
    monkeypatch.setattr(nnunet.nnUNetPredictor, "_internal_maybe_mirror_and_predict", one_infinity)
    for run in (job.nnunet, job.ours):
        with pytest.raises(RuntimeError, match="Encountered inf in predicted array"):
            run(*ALONE)


# ---- the copy of nnU-Net's function -----------------------------------------------------------------------------


def test_a_copy_sees_the_other_object_and_the_original_does_not() -> None:
    other = ModuleType("other")
    copy = rebound(record, json=other)
    assert copy.__globals__["json"] is other
    assert record.__globals__["json"] is json
    assert copy.__name__ == "record"


def test_a_name_that_is_not_used_is_refused() -> None:
    with pytest.raises(RebindingError, match="record does not use no_such_name"):
        rebound(record, no_such_name=1)


def test_nnunets_modules_stay_as_they_are() -> None:
    assert nnunet.nnUNetPredictor is LeanPredictor.__mro__[1]
    assert nnunet.export_prediction_from_logits.__module__ == "nnunetv2.inference.export_prediction"
