"""The plan of a comparison: what its file may hold, and how wrong values are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark.plan import Entry, Plan
from nnunet_spine_ext.benchmark.yaml_plan import read_plan
from nnunet_spine_ext.benchmark.yaml_template import write_plan
from nnunet_spine_ext.errors import DataError, SetupError

LEAST = "dataset: 501\ntrainers: [SpineHybridTrainer]\n"


def write(folder: Path, text: str) -> Path:
    file = folder / "benchmark.yaml"
    file.write_text(text)
    return file


def findings(file: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_plan(file)
    assert {finding.file for finding in caught.value.findings} == {file}
    return [f"{finding.finding} | {finding.remedy}" for finding in caught.value.findings]


def test_least_plan_has_five_folds_and_a_baseline(tmp_path: Path) -> None:
    plan = read_plan(write(tmp_path, LEAST))
    assert plan == Plan(dataset_id=501, entries=(Entry(trainer="SpineHybridTrainer", configurations=("3d_fullres",)),))
    assert (plan.folds, plan.seeds, plan.with_baseline, plan.baseline_trainer) == (
        (0, 1, 2, 3, 4), (0,), True, "nnUNetTrainer",
    )  # fmt: skip


@pytest.mark.parametrize("epochs", ["", "epochs: 5\n"])
def test_a_variant_that_augments_on_the_gpu_is_a_trainer_like_any_other(tmp_path: Path, epochs: str) -> None:
    plan = read_plan(write(tmp_path, f"dataset: 501\ntrainers: [SpineHybridTrainerGPUAug]\n{epochs}"))
    assert [entry.trainer for entry in plan.entries] == ["SpineHybridTrainerGPUAug"]


def test_what_init_writes_is_read_back_as_it_was(tmp_path: Path) -> None:
    plan = Plan(
        dataset_id=502,
        entries=tuple(
            Entry(trainer=name, configurations=("2d", "3d_fullres"), plans="SpineHybridPlans")
            for name in ("SpineHybridTrainer", "SpineUNetPPTrainer")
        ),
        folds=(0, 2),
        seeds=(0, 5),
        epochs=100,
        iterations=20,
        gpu_memory_target_gb=7.5,
        device="cpu",
        jobs_at_once=2,
        loading_processes=0,
        keep_epochs=(10, 50),
        with_baseline=False,
        find_best=True,
        slurm={"timeout_min": 1440, "cpus_per_task": 12, "mem_gb": 48, "gpus_per_node": 0},
    )
    file = write_plan(plan, tmp_path / "new")
    assert read_plan(file) == plan
    assert file.read_text().count("#") > 10
    assert [p.name for p in file.parent.iterdir()] == ["benchmark.yaml"]
    with pytest.raises(SetupError, match="there already"):
        write_plan(plan, tmp_path / "new")


def test_a_wrong_plan_is_not_written(tmp_path: Path) -> None:
    plan = Plan(dataset_id=501, entries=(Entry(trainer="SpineHybridTrainr", configurations=("2d",)),))
    with pytest.raises(DataError, match="Did you mean SpineHybridTrainer"):
        write_plan(plan, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_everything_wrong_is_reported_at_once(tmp_path: Path) -> None:
    found = findings(
        write(
            tmp_path,
            "dataset: five\n"
            "trainers: [SpineHybridTrainr, {trainer: SpineUNetPPTrainer, plan: x}, 7]\n"
            "fold: [0]\nfolds: [0, 0]\nseeds: [-1]\nepochs: 0\niterations: true\n"
            "device: gpu\nbaseline: no\ngpu_memory_target: -1\nfind_best: maybe\njobs_at_once: 1.5\n"
            "configurations: []\nplans: [a]\nslurm: 12\nkeep_epochs: [x]\nloading_processes: -1\n",
        )
    )
    text = "\n".join(found)
    for said in (
        "dataset is 'five' | Write a whole number from 1 to 999",
        "no trainer is called SpineHybridTrainr | Did you mean SpineHybridTrainer?",
        "SpineUNetPPTrainer: plan is no key | Did you mean plans?",
        "trainers holds 7 |",
        "fold is no key | Did you mean folds?",
        "folds is [0, 0] |",
        "seeds is [-1] |",
        "epochs is 0 |",
        "iterations is True |",
        "device is 'gpu' | Write one of cuda, cpu.",
        "baseline is False | Write one of auto, none.",
        "gpu_memory_target is -1 |",
        "find_best is 'maybe' | Write true or false.",
        "jobs_at_once is 1.5 |",
        "configurations is [] |",
        "plans is ['a'] |",
        "slurm is 12 |",
        "keep_epochs is ['x'] |",
        "loading_processes is -1 |",
    ):
        assert said in text, said
    assert len(found) == 19


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataset: [501\n", "is no YAML"),
        ("- 1\n", "holds no table"),
        ("dataset: 501\n", "trainers is no list"),
        ("trainers: [SpineHybridTrainer]\n", "dataset is missing"),
        (LEAST + "iterations: 5\n", "iterations is set, epochs is not"),
        (LEAST + "epochs: 5\nkeep_epochs: [5, 6]\n", r"keep_epochs holds \[6\]"),
        ("dataset: 501\ntrainers: [SpineHybridTrainer, SpineHybridTrainer]\n", "twice"),
        ("dataset: 501\ntrainers: [SpineHybridTrainer_50epochs]\n", "names its length"),
    ],
)
def test_wrong_plans(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_plan(write(tmp_path, text))


def test_no_plan(tmp_path: Path) -> None:
    assert "no such file | Write one with `nnunet_spine benchmark init`." in findings(tmp_path / "benchmark.yaml")[0]


def test_a_budget_names_the_variants_of_every_model_and_of_the_baseline(tmp_path: Path) -> None:
    plan = read_plan(write(tmp_path, LEAST + "epochs: 50\niterations: 20\n"))
    assert [model.trainer for model in plan.models] == ["SpineHybridTrainer_50epochs_20iterations"]
    assert plan.baseline_trainer == "SpineBaselineTrainer_50epochs_20iterations"


def test_nnunets_own_trainer_cannot_be_shortened(tmp_path: Path) -> None:
    (found,) = findings(write(tmp_path, "dataset: 501\ntrainers: [nnUNetTrainer]\nepochs: 7\n"))
    assert "SpineBaselineTrainer" in found
    read_plan(write(tmp_path, "dataset: 501\ntrainers: [nnUNetTrainer]\nepochs: 250\n"))  # nnU-Net has that one
    read_plan(write(tmp_path, "dataset: 501\ntrainers: [nnUNetTrainer]\n"))


def test_trainers_of_the_users_own_folder_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "own.py").write_text(
        "class OwnTrainer(SpineTrainer):\n    pass\n\n__getattr__ = epoch_variants(globals())\n"
    )
    (mine / "other.py").write_text("class FixedTrainer(nnUNetTrainer):\n    pass\n")
    file = write(tmp_path, "dataset: 501\ntrainers: [OwnTrainer, FixedTrainer]\nepochs: 7\n")
    assert len(findings(file)) == 2
    monkeypatch.setenv("nnUNet_extTrainer", str(mine))
    (found,) = findings(file)
    assert "FixedTrainer cannot be shortened" in found


def test_each_trainer_may_have_its_own_plans_and_configurations(tmp_path: Path) -> None:
    plan = read_plan(
        write(
            tmp_path,
            "dataset: 501\nconfigurations: [2d, 3d_fullres]\ntrainers:\n"
            "  - SpineHybridTrainer\n"
            "  - {trainer: SpineRes50UNetTrainer, configurations: 25d, plans: SpineRes50UNetPlans, title: Res50}\n"
            "  - {trainer: nnUNetTrainer, configurations: [3d_fullres], plans: nnUNetResEncUNetLPlans}\n",
        )
    )
    assert [(m.title, m.trainer, m.plans, m.configuration, m.baseline) for m in plan.models] == [
        ("SpineHybrid 2d", "SpineHybridTrainer", "nnUNetPlans", "2d", False),
        ("SpineHybrid 3d_fullres", "SpineHybridTrainer", "nnUNetPlans", "3d_fullres", False),
        ("Res50", "SpineRes50UNetTrainer", "SpineRes50UNetPlans", "25d", False),
        ("stock nnU-Net", "nnUNetTrainer", "nnUNetResEncUNetLPlans", "3d_fullres", True),
    ]


def test_titles_tell_models_apart(tmp_path: Path) -> None:
    text = (
        "dataset: 501\ntrainers:\n  - SpineHybridTrainer\n  - {trainer: SpineHybridTrainer, plans: SpineHybridPlans}\n"
        "  - {trainer: SpineUNetPPTrainer, configurations: [2d]}\n"
    )
    assert [model.title for model in read_plan(write(tmp_path, text)).models] == [
        "SpineHybrid nnUNetPlans", "SpineHybrid SpineHybridPlans", "SpineUNetPP",
    ]  # fmt: skip
