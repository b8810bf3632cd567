"""What is timed, in which order, on which batches; and measurements in processes of their own that fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nnunet_spine_ext.benchmark.costs import timing
from nnunet_spine_ext.benchmark.costs.inference import find_trained_fold
from nnunet_spine_ext.benchmark.costs.plan import PlannedModel
from nnunet_spine_ext.benchmark.costs.process import NotMeasuredError, measured_apart, peak_resident_bytes
from nnunet_spine_ext.benchmark.costs.timing import TimingOptions, time_steps, time_trainer
from tests.conftest import NnunetFolders
from tests.training.tiny import NAME, MakeTrainer, make_dataset_json, make_plans


class Loader:
    """Hands out numbered batches and notes whether it was stopped."""

    def __init__(self) -> None:
        self.made, self.stopped = 0, False

    def __next__(self) -> dict[str, Any]:
        self.made += 1
        batch = torch.full((2, 1, 4), float(self.made))
        return {"data": batch, "target": [batch, batch], "keys": ["a", "b"]}

    def _finish(self) -> None:
        self.stopped = True


class Recorder:
    """As much of a trainer as timing uses; every step advances a clock of its own."""

    def __init__(self, *, fails: bool = False) -> None:
        self.device, self.batch_size = torch.device("cpu"), 2
        self.num_iterations_per_epoch, self.grad_scaler, self.network = 5, None, torch.nn.Linear(1, 1)
        self.dataloader_train, self.dataloader_val = Loader(), Loader()
        self.events: list[str] = []
        self.steps: list[float] = []
        self.clock, self.fails = 0.0, fails

    def on_train_start(self) -> None:
        self.events.append("start")

    def on_train_epoch_start(self) -> None:
        self.events.append("epoch")

    def train_step(self, batch: dict[str, Any]) -> None:
        if self.fails:
            raise RuntimeError("out of memory")
        self.steps.append(float(batch["data"][0, 0, 0]))
        self.clock += 2.0 if len(self.steps) > 5 + 6 else 3.0  # steps on one batch take 2 s, all others 3 s


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: made.clock)
    return made


def test_warm_up_then_loaded_batches_then_one_batch_again(recorder: Recorder) -> None:
    times = time_trainer(recorder, options=TimingOptions(steps=2, blocks=3))
    assert recorder.events == ["start", "epoch"]
    # An epoch of 5 for warming up, 3 blocks of 2 new batches, then batch 12 six times over.
    assert recorder.steps == [*range(1, 12), *[12] * 6]
    assert times.seconds_with_loading == (3.0, 3.0, 3.0)
    assert times.seconds == (2.0, 2.0, 2.0)
    assert (times.warm_up_steps, times.steps, times.batch_size) == (5, 2, 2)
    assert (times.allocated_bytes, times.reserved_bytes) == (None, None)  # nothing is said of a GPU
    assert (times.precision, times.compiled) == ("fp32", False)
    assert recorder.dataloader_train.stopped
    assert recorder.dataloader_val.stopped


def test_loaders_are_stopped_after_a_failure() -> None:
    trainer = Recorder(fails=True)
    with pytest.raises(RuntimeError, match="out of memory"):
        time_trainer(trainer, options=TimingOptions())
    assert trainer.dataloader_train.stopped


def test_a_real_trainer_takes_its_own_steps(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer("SpineBaselineTrainer_1epochs_2iterations")
    monkeypatch.setenv("nnUNet_compile", "f")
    times = time_trainer(trainer, options=TimingOptions(steps=1, blocks=3))
    assert trainer._iteration == 2 + 3 + 3
    assert len(times.seconds) == len(times.seconds_with_loading) == 3
    assert min(*times.seconds, *times.seconds_with_loading) > 0
    assert not list(Path(trainer.output_folder).glob("*.pth"))


def test_the_defaults_are_those_of_the_device() -> None:
    gpu, cpu = TimingOptions.for_device("cuda"), TimingOptions.for_device("cpu")
    assert gpu.warm_up_steps is None  # one epoch
    assert gpu.blocks >= 3
    assert (cpu.warm_up_steps, cpu.steps, cpu.blocks) == (1, 1, 3)


def test_a_cascade_finds_its_previous_stage_in_the_real_results(tmp_path: Path) -> None:
    trainer = SimpleNamespace(
        output_folder_base=str(tmp_path / "temporary" / NAME / "T__P__3d_cascade_fullres"),
        folder_with_segs_from_previous_stage=str(
            tmp_path / "temporary" / NAME / "T__P__3d_lowres" / "predicted_next_stage" / "3d_cascade_fullres"
        ),
    )
    found = timing._previous_stage(trainer, tmp_path / "results")
    assert found == tmp_path / "results" / NAME / "T__P__3d_lowres" / "predicted_next_stage" / "3d_cascade_fullres"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_process_says_so_and_measures_nothing(nnunet_folders: NnunetFolders) -> None:
    planned = PlannedModel(
        trainer="nnUNetTrainer",
        configuration="2d",
        plans=make_plans(),
        dataset=make_dataset_json(),
        folder=nnunet_folders.preprocessed / NAME,
    )
    with pytest.raises(NotMeasuredError, match=r"^no GPU$"):
        time_steps(planned, device="cuda", options=TimingOptions.for_device("cuda"))
    assert not list(nnunet_folders.results.iterdir())


def test_a_process_without_an_answer_is_told_by_how_it_ended() -> None:
    with pytest.raises(NotMeasuredError, match=r"status 1: .*No module named nnunet_spine_ext\.absent"):
        measured_apart("nnunet_spine_ext.absent", {})
    with pytest.raises(NotMeasuredError, match=r"not ready after 0\.01 s"):
        measured_apart("nnunet_spine_ext.benchmark.costs.timing", {}, timeout_seconds=0.01)


def test_the_peak_of_memory_is_the_process_own_and_stays_when_memory_is_freed() -> None:
    code = (
        "from nnunet_spine_ext.benchmark.costs.process import peak_resident_bytes as peak\n"
        "before = peak(); held = b'1' * 200_000_000; during = peak(); del held; print(before, during, peak())"
    )
    ours = peak_resident_bytes()
    if ours is None:
        pytest.skip("this system does not say")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, during, after = map(int, done.stdout.split())
    assert before < 150_000_000 < ours  # not begun with that of this process, which has torch
    assert before + 190_000_000 < during
    assert after > during - 10_000_000  # the kernel rounds


def write_model(
    results: Path, *, folds: tuple[str, ...] = ("0",), previous_stage: str | None = None, inherited: bool = False
) -> Path:
    """A model's folder with finished folds, as far as looking for cases goes."""
    model = results / NAME / "SpineBaselineTrainer__nnUNetPlans__3d_fullres"
    for fold in folds:
        (model / f"fold_{fold}").mkdir(parents=True)
        (model / f"fold_{fold}" / "checkpoint_final.pth").touch()
    plans = make_plans()
    if previous_stage is not None:
        configuration = plans["configurations"]["3d_fullres"]
        if inherited:
            configuration["inherits_from"], configuration = "ancestor", {}
            plans["configurations"]["ancestor"] = configuration
        configuration["previous_stage"] = previous_stage
    (model / "plans.json").write_text(json.dumps(plans))
    (model / "dataset.json").write_text(json.dumps(make_dataset_json()))
    return model


def cases_of(model: Path, tiny: NnunetFolders, *, cases: int = 2) -> list[str]:
    fold = find_trained_fold(model, preprocessed=tiny.preprocessed / NAME, raw=tiny.raw / NAME, cases=cases)
    return [channels[0].name for channels in fold.images]


def test_cases_are_those_that_the_fold_did_not_train_on(tiny: NnunetFolders) -> None:
    splits = [{"train": ["t0"], "val": ["t1", "t2", "t3"]}, {"train": ["t0"], "val": ["t4"]}]
    (tiny.preprocessed / NAME / "splits_final.json").write_text(json.dumps(splits))
    assert cases_of(write_model(tiny.results), tiny) == ["t1_0000.nii.gz", "t2_0000.nii.gz"]
    assert cases_of(write_model(tiny.results / "other", folds=("1",)), tiny) == ["t4_0000.nii.gz"]
    assert cases_of(write_model(tiny.results / "all", folds=("all",)), tiny, cases=1) == ["t0_0000.nii.gz"]


def test_a_cascade_that_inherits_its_previous_stage_is_predicted_with_its_labels(tiny: NnunetFolders) -> None:
    cascade = write_model(tiny.results, previous_stage="3d_lowres", inherited=True)
    with pytest.raises(NotMeasuredError, match="previous stage are not in 3d_lowres/fold_0/validation"):
        cases_of(cascade, tiny)


def test_reasons_why_a_case_cannot_be_predicted(tiny: NnunetFolders) -> None:
    with pytest.raises(NotMeasuredError, match="no fold is trained to the end"):
        cases_of(tiny.results / NAME / "absent", tiny)
    cascade = write_model(tiny.results, previous_stage="3d_lowres")
    with pytest.raises(NotMeasuredError, match="previous stage are not in 3d_lowres/fold_0/validation"):
        cases_of(cascade, tiny)
    before = cascade.parent / "SpineBaselineTrainer__nnUNetPlans__3d_lowres" / "fold_0" / "validation"
    before.mkdir(parents=True)
    (before / "t4.nii.gz").touch()
    fold = find_trained_fold(cascade, preprocessed=tiny.preprocessed / NAME, raw=tiny.raw / NAME, cases=2)
    assert fold.previous_stage == (before / "t4.nii.gz",)
    (tiny.raw / NAME / "imagesTr" / "t4_0000.nii.gz").unlink()
    with pytest.raises(NotMeasuredError, match="no image of a validation case of fold 0"):
        cases_of(cascade, tiny)
