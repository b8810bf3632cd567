"""From a plan to a comparison: what is missing is said at once, baselines are chosen once and kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark.baseline import BaselineChoice
from nnunet_spine_ext.benchmark.comparison import NO_BASELINE_NOTE, read_comparison
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.benchmark.resolving import resolve
from nnunet_spine_ext.errors import DataError, PlanError
from tests.benchmark.fake import DATASET, plans_file
from tests.conftest import NnunetFolders

CONFIGURATIONS = {
    "2d": {"data_identifier": "nnUNetPlans_2d"},
    "25d": {"inherits_from": "2d"},
    "3d_fullres": {"data_identifier": "nnUNetPlans_3d_fullres"},
}


@pytest.fixture
def dataset(nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The preprocessed folder of a dataset with stock plans and two folds."""
    folder = nnunet_folders.preprocessed / DATASET
    (nnunet_folders.raw / DATASET).mkdir()
    for name in ("nnUNetPlans_2d", "nnUNetPlans_3d_fullres"):
        (folder / name).mkdir(parents=True)
        (folder / name / "case.pkl").touch()
    (folder / "splits_final.json").write_text(json.dumps([{"train": [], "val": []}] * 2))
    plans_file(folder, "nnUNetPlans", CONFIGURATIONS)
    plans_file(folder, "nnUNetResEncUNetMPlans", CONFIGURATIONS)
    monkeypatch.setattr("nnunet_spine_ext.benchmark.baseline_presets.plan_presets", lambda *_, **__: [])
    return folder


class Chooser:
    """Stands in for the counting of baselines: always ResEnc M."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def __call__(
        self, dataset_id: int, models: Sequence[Model], *, gpu_memory_target_gb: float | None, trainer: str
    ) -> tuple[BaselineChoice, ...]:
        self.asked.append(tuple(model.title for model in models))
        others = tuple(model.title for model in models if not model.baseline)
        model = Model(
            trainer=trainer, plans="nnUNetResEncUNetMPlans", configuration="3d_fullres", title="ResEnc M", baseline=True
        )
        return (BaselineChoice(model=model, because="It is closest.", for_models=others),)


@pytest.fixture
def chooser(monkeypatch: pytest.MonkeyPatch) -> Chooser:
    chooser = Chooser()
    monkeypatch.setattr("nnunet_spine_ext.benchmark.baseline.choose_baselines", chooser)
    return chooser


def write_plan(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "benchmark.yaml").write_text("dataset: 501\ndevice: cpu\nfolds: [0, 1]\n" + text)
    return folder


def test_the_stock_baseline_is_always_there(dataset: Path, chooser: Chooser, tmp_path: Path) -> None:
    comparison = resolve(write_plan(tmp_path / "c", "trainers: [SpineHybridTrainer]\n"))
    assert [(m.title, m.trainer, m.baseline) for m in comparison.models] == [
        ("SpineHybrid", "SpineHybridTrainer", False),
        ("ResEnc M", "nnUNetTrainer", True),
    ]
    assert len(comparison.jobs) == 4
    facts = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert facts["baseline"] == "ResEnc M"
    assert facts["notes"] == ["Baseline ResEnc M, chosen for SpineHybrid. It is closest."]
    assert read_comparison(tmp_path / "c") == comparison


def test_the_baseline_has_the_same_budget(dataset: Path, chooser: Chooser, tmp_path: Path) -> None:
    comparison = resolve(write_plan(tmp_path / "c", "trainers: [SpineHybridTrainer]\nepochs: 5\niterations: 2\n"))
    assert [m.trainer for m in comparison.models] == [
        "SpineHybridTrainer_5epochs_2iterations", "SpineBaselineTrainer_5epochs_2iterations",
    ]  # fmt: skip
    assert comparison.notes[0].startswith("Every model was trained for 10 steps; nnU-Net's own training has 250,000.")


@pytest.mark.parametrize(("length", "told"), [("", 0), ("epochs: 1000\n", 0), ("epochs: 999\n", 1)])
def test_a_short_budget_is_told(tmp_path: Path, dataset: Path, chooser: Chooser, length: str, told: int) -> None:
    comparison = resolve(write_plan(tmp_path / "c", f"trainers: [SpineHybridTrainer]\n{length}"))
    assert len([note for note in comparison.notes if "steps" in note]) == told


def test_baselines_are_chosen_once(dataset: Path, chooser: Chooser, tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "c", "trainers: [SpineHybridTrainer]\n")
    assert resolve(folder) == resolve(folder)
    write_plan(folder, "trainers: [SpineHybridTrainer]\nseeds: [0, 1]\n")
    assert len(resolve(folder).jobs) == 8
    assert len(chooser.asked) == 1
    write_plan(folder, "trainers: [SpineHybridTrainer, SpineUNetPPTrainer]\n")
    resolve(folder)
    assert chooser.asked == [("SpineHybrid",), ("SpineHybrid", "SpineUNetPP")]


def test_a_baseline_that_is_named_already_is_no_second_model(dataset: Path, chooser: Chooser, tmp_path: Path) -> None:
    text = "trainers: [SpineHybridTrainer, {trainer: nnUNetTrainer, plans: nnUNetResEncUNetMPlans, title: Mine}]\n"
    comparison = resolve(write_plan(tmp_path / "c", text))
    assert [(m.title, m.baseline) for m in comparison.models] == [("SpineHybrid", False), ("Mine", True)]
    assert comparison.baseline == "Mine"


def test_leaving_the_baseline_out_is_said_in_the_report(dataset: Path, chooser: Chooser, tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "c", "trainers: [SpineHybridTrainer]\n")
    comparison = resolve(folder, without_baseline=True)
    facts = json.loads((folder / "comparison.json").read_text())
    assert (facts["notes"], facts["baseline"]) == ([NO_BASELINE_NOTE], None)
    assert read_comparison(folder) == comparison
    assert len(resolve(folder).models) == 2  # without the flag, it is back
    write_plan(folder, "trainers: [SpineHybridTrainer]\nbaseline: none\n")
    assert resolve(folder).notes == (NO_BASELINE_NOTE,)


def test_everything_that_is_missing_is_said_at_once(
    dataset: Path, chooser: Chooser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (dataset / "nnUNetPlans_2d" / "case.pkl").unlink()
    folder = write_plan(
        tmp_path / "c",
        "trainers:\n  - {trainer: SpineHybridTrainer, plans: SpineHybridPlans}\n  - SpineUNetPPTrainr\n"
        "  - {trainer: SpineUNetPPTrainer, configurations: [2d, 3d_lowres]}\n"
        "  - {trainer: SpineRes50UNetTrainer, configurations: [25d]}\n",
    )
    file = folder / "benchmark.yaml"
    file.write_text(file.read_text().replace("folds: [0, 1]", "folds: [0, 4]").replace("device: cpu", "device: cuda"))
    with pytest.raises(DataError) as caught:
        resolve(folder)
    text = str(caught.value)
    for said in (
        "Did you mean SpineUNetPPTrainer?",
        "device is cuda, but no GPU is visible",
        "has 2 folds, not 4",
        "SpineHybridPlans.json: no such plans, which SpineHybrid needs. Make it: nnunet_spine plan -d 501 -tr "
        "SpineHybridTrainer -c 3d_fullres. There are: nnUNetPlans, nnUNetResEncUNetMPlans.",
        "nnUNetPlans.json: has no configuration 3d_lowres. There are 2d, 25d, 3d_fullres;",
        "nnUNetPlans_2d: the preprocessed cases are missing. Make them: nnUNetv2_preprocess -d 501 -plans_name "
        "nnUNetPlans -c 2d.",
    ):
        assert said in text, said
    assert len(caught.value.findings) == 6
    assert not (folder / "comparison.json").exists()


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        ("nnUNetPlans.json", '{"configurations": {', "is no JSON"),
        ("splits_final.json", '[{"train": [', "is no JSON"),
        ("splits_final.json", "{}", "is no list of folds"),
    ],
)
def test_files_that_were_cut_are_findings(
    dataset: Path, chooser: Chooser, tmp_path: Path, file: str, content: str, found: str
) -> None:
    (dataset / file).write_text(content)
    with pytest.raises(DataError, match=found) as caught:
        resolve(write_plan(tmp_path / "c", "trainers: [SpineHybridTrainer]\n"))
    assert [finding.file.name for finding in caught.value.findings] == [file]


def test_configurations_that_inherit_in_a_circle_are_refused(dataset: Path, chooser: Chooser, tmp_path: Path) -> None:
    plans_file(dataset, "nnUNetPlans", {"3d_fullres": {"inherits_from": "2d"}, "2d": {"inherits_from": "3d_fullres"}})
    with pytest.raises(PlanError, match="3d_fullres → 2d → 3d_fullres"):
        resolve(write_plan(tmp_path / "c", "trainers: [SpineHybridTrainer]\n"))


def test_a_dataset_that_is_not_planned(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_plan(tmp_path / "c", "trainers: [SpineHybridTrainer]\n")
    file = folder / "benchmark.yaml"
    file.write_text(file.read_text().replace("dataset: 501", "dataset: 777"))
    with pytest.raises(DataError, match="Expected one Dataset777_"):
        resolve(folder)
    monkeypatch.delenv("nnUNet_results")
    with pytest.raises(DataError, match="nnUNet_results is not set"):
        resolve(folder)


def test_jobs_on_a_cluster_need_no_gpu_here(
    dataset: Path, chooser: Chooser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folder = write_plan(tmp_path / "c", "trainers: [SpineHybridTrainer]\n")
    file = folder / "benchmark.yaml"
    file.write_text(file.read_text().replace("device: cpu", "device: cuda"))
    assert resolve(folder, slurm=True).plan.device == "cuda"
