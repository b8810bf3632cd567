"""nnU-Net's own commands, as a user types them, on tiny phantoms: train, continue, validate, predict, select, share.

Minutes of CPU: run with `python -m pytest -m slow tests/test_stock_commands.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.paths import trainers_dir
from nnunet_spine_ext.planning.fixed import FixedByRecipe
from nnunet_spine_ext.planning.trainers import find_trainer, plans_name_of

pytestmark = pytest.mark.slow

TRAINER = "SpineHybridTrainer_1epochs_2iterations"
DATASET = "501"
PLANS = ("nnUNetPlans", "nnUNetResEncUNetMPlans", "SpineHybridPlans")


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """nnU-Net's folders under `root`, and commands run with them."""

    root: Path
    workers: int = 1
    """Loading and writing processes of training and prediction; each costs seconds of importing."""

    @property
    def environment(self) -> dict[str, str]:
        folders = {f"nnUNet_{name}": str(self.root / f"nnUNet_{name}") for name in ("raw", "preprocessed", "results")}
        workers = {"nnUNet_n_proc_DA": str(self.workers), "nnUNet_def_n_proc": str(1 + self.workers)}
        small = {**workers, "nnUNet_compile": "f"}
        return {**os.environ, **folders, **small, "nnUNet_extTrainer": str(trainers_dir())}

    @property
    def dataset(self) -> Path:
        (found,) = (self.root / "nnUNet_raw").glob(f"Dataset{DATASET}_*")
        return found

    def model(self, trainer: str, plans: str, configuration: str) -> Path:
        return self.root / "nnUNet_results" / self.dataset.name / f"{trainer}__{plans}__{configuration}"

    def start(self, *command: str) -> subprocess.Popen[str]:
        executable = Path(sys.executable).parent / command[0]
        return subprocess.Popen(
            [str(executable), *command[1:]],
            env=self.environment,
            cwd=self.root,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *command: str) -> str:
        process = self.start(*command)
        output, _ = process.communicate(timeout=3600)
        assert process.returncode == 0, f"{' '.join(command)}\n{output[-4000:]}"
        return output

    def train(self, configuration: str, *more: str, trainer: str = TRAINER, plans: str = "nnUNetPlans") -> str:
        return self.run(
            "nnUNetv2_train", DATASET, configuration, "0", "-tr", trainer, "-p", plans, "-device", "cpu", *more
        )

    def predict(self, output: str, configuration: str, *, trainer: str = TRAINER, plans: str = "nnUNetPlans") -> Path:
        images, workers = str(self.dataset / "imagesTs"), str(self.workers)
        self.run(
            *("nnUNetv2_predict", "-i", images, "-o", output, "-d", DATASET, "-c", configuration, "-f", "0"),
            *("-tr", trainer, "-p", plans, "-device", "cpu", "--disable_tta", "-npp", workers, "-nps", workers),
        )
        return self.root / output


def make_workspace(root: Path, *, size: int = 64) -> Workspace:
    """A converted, planned and preprocessed tiny phantom with all three kinds of plans."""
    workspace = Workspace(root=root)
    for name in ("raw", "preprocessed", "results"):
        (root / f"nnUNet_{name}").mkdir(parents=True)
    workspace.run("nnunet_spine", "phantom", "phantom", "--cases", "6", "--size", str(size), "--slices", "8")
    # Every structure of this scheme occurs in fold 0's validation case: nnUNetv2_find_best_configuration cannot average
    # over one that occurs in none.
    workspace.run("nnunet_spine", "convert", "mrspineseg", "phantom", "-d", DATASET, "--labels", "paper004")
    configurations = ("-c", "2d", "3d_fullres", "-np", "2", "-npfp", "2")
    workspace.run("nnUNetv2_plan_and_preprocess", "-d", DATASET, "--verify_dataset_integrity", *configurations)
    workspace.run("nnUNetv2_plan_experiment", "-d", DATASET, "-pl", "nnUNetPlannerResEncM")
    workspace.run("nnunet_spine", "plan", "-d", DATASET, "-tr", "SpineHybridTrainer")
    return workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("stock"))


@pytest.fixture(scope="module")
def trained(workspace: Workspace) -> Workspace:
    """Both configurations of one model, validated with probabilities."""
    for configuration in ("2d", "3d_fullres"):
        workspace.train(configuration, "--npz", plans="SpineHybridPlans")
    return workspace


def label_maps(folder: Path) -> dict[str, np.ndarray]:
    return {p.name: sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in sorted(folder.glob("*.nii.gz"))}


@pytest.mark.parametrize("plans", PLANS)
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_train_validates_with_every_kind_of_plan(workspace: Workspace, plans: str, configuration: str) -> None:
    workspace.train(configuration, plans=plans)
    summary = workspace.model(TRAINER, plans, configuration) / "fold_0" / "validation" / "summary.json"
    assert json.loads(summary.read_text())["metric_per_case"]


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_stock_trainer_trains_our_plans(workspace: Workspace, configuration: str) -> None:
    trainer = "SpineBaselineTrainer_1epochs_2iterations"
    for name in (trainer,):
        workspace.train(configuration, trainer=name, plans="SpineHybridPlans")
    # nnU-Net's own class, two full epochs of 250 iterations being too long here: it must build and start.
    process = workspace.start(
        *("nnUNetv2_train", DATASET, configuration, "0", "-tr", "nnUNetTrainer_1epoch", "-p", "SpineHybridPlans"),
        *("-device", "cpu"),
    )
    try:
        folder = workspace.model("nnUNetTrainer_1epoch", "SpineHybridPlans", configuration) / "fold_0"
        assert wait_for(lambda: any("Epoch 0" in p.read_text() for p in folder.glob("training_log*.txt")), process)
        debug = json.loads((folder / "debug.json").read_text())
        assert "SpineHybrid" in debug["network"]
    finally:
        kill(process)


def test_continue_after_a_kill(workspace: Workspace) -> None:
    trainer = "SpineHybridTrainer_6epochs_2iterations"
    fold = workspace.model(trainer, "nnUNetPlans", "3d_fullres") / "fold_0"
    process = workspace.start("nnUNetv2_train", DATASET, "3d_fullres", "0", "-tr", trainer, "-device", "cpu")
    assert wait_for(lambda: any(fold.glob("checkpoint_*.pth")), process)
    kill(process)
    assert not (fold / "checkpoint_final.pth").exists()
    output = workspace.train("3d_fullres", "--c", trainer=trainer)
    assert "Epoch 0" not in output
    assert "Epoch 5" in output
    assert (fold / "checkpoint_final.pth").exists()
    assert (fold / "validation" / "summary.json").exists()


def test_validation_alone(trained: Workspace) -> None:
    validation = trained.model(TRAINER, "SpineHybridPlans", "3d_fullres") / "fold_0" / "validation"
    before = label_maps(validation)
    shutil.rmtree(validation)
    trained.train("3d_fullres", "--val", "--npz", plans="SpineHybridPlans")
    after = label_maps(validation)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert list(validation.glob("*.npz"))


def memory_gb() -> float:
    """What a new process may take: free memory and what caches of files would give back."""
    (line,) = [x for x in Path("/proc/meminfo").read_text().splitlines() if x.startswith("MemAvailable:")]
    return int(line.split()[1]) / 2**20


@pytest.fixture(scope="module")
def thick_slices(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Slices of 96 x 96 pixels, which every network's strides divide, smaller than the slices are thick."""
    return replace(make_workspace(tmp_path_factory.mktemp("thick"), size=96), workers=0)


def variant_of(name: str) -> str:
    """Two iterations; more where there may be BatchNorm, whose stored statistics mean nothing after two."""
    normed_by_plan = NETWORKS[str(find_trainer(name).network_name)].family == "u-shape" and "Paper" not in name
    without_batch_norm = normed_by_plan or name == "SpineHybridPaperTrainer"
    return f"{name}_1epochs_{2 if without_batch_norm else 20}iterations"


def train_or_expect_overflow(workspace: Workspace, configuration: str, *, trainer: str, plans: str) -> None:
    """Train and validate; where BatchNorm's statistics lag too far behind the weights, nnU-Net stops at huge logits."""
    try:
        workspace.train(configuration, trainer=trainer, plans=plans)
    except AssertionError as error:
        fold = workspace.model(trainer, plans, configuration) / "fold_0"
        if "Encountered inf in predicted array" not in str(error):
            raise
        weights = torch.load(fold / "checkpoint_final.pth", weights_only=False)["network_weights"]
        if not any(name.endswith("running_mean") for name in weights):
            raise
        shutil.rmtree(fold.parent)
        pytest.xfail("trained; its BatchNorm statistics are too young for a prediction in nnU-Net's half precision")


def planned_for(workspace: Workspace, name: str) -> tuple[str, str]:
    """The configuration that a trainer is for, and plans that have it; a paper's own stages need their own plan."""
    trainer = find_trainer(name)
    dims, papers_own = NETWORKS[str(trainer.network_name)].dims, name.endswith("PaperTrainer")
    own = "2d" if 3 not in dims or (papers_own and 2 in dims) else "3d_fullres"
    configuration = FixedByRecipe.of(trainer).configuration or own
    if not papers_own:
        return configuration, "nnUNetPlans"
    workspace.run("nnunet_spine", "plan", "-d", DATASET, "-tr", name, "-c", configuration)
    return configuration, plans_name_of(trainer)


@pytest.mark.parametrize("name", [name for row in NETWORKS.values() for name in row.trainers])
def test_every_trainer_trains_validates_and_predicts(thick_slices: Workspace, name: str) -> None:
    if name == "SpineHybridPaperTrainer" and memory_gb() < 16:
        pytest.skip("744 million weights with Adam's states need 16 GB of free memory")
    configuration, plans = planned_for(thick_slices, name)
    trainer = variant_of(name)
    train_or_expect_overflow(thick_slices, configuration, trainer=trainer, plans=plans)
    model = thick_slices.model(trainer, plans, configuration)
    summary = json.loads((model / "fold_0" / "validation" / "summary.json").read_text())
    assert summary["metric_per_case"]
    predictions = label_maps(thick_slices.predict(f"by_{name}", configuration, trainer=trainer, plans=plans))
    images = sorted((thick_slices.dataset / "imagesTs").glob("*_0000.nii.gz"))
    assert [p.name.replace("_0000.nii.gz", ".nii.gz") for p in images] == list(predictions)
    for image, labels in zip(images, predictions.values(), strict=True):
        assert labels.shape == sitk.GetArrayFromImage(sitk.ReadImage(str(image))).shape
    shutil.rmtree(model)  # checkpoints of half a gigabyte each


def test_a_variant_for_the_gpu_trains_and_predicts_without_one(workspace: Workspace) -> None:
    trainer = "SpineHybridTrainerGPUAug_1epochs_2iterations"
    said = workspace.train("3d_fullres", trainer=trainer, plans="SpineHybridPlans")
    assert "Augmentation: by nnU-Net's workers on the CPU, as there is no GPU." in said
    predicted = workspace.predict("by_gpu_variant", "3d_fullres", trainer=trainer, plans="SpineHybridPlans")
    assert label_maps(predicted)


def test_find_best_configuration(trained: Workspace) -> None:
    output = trained.run(
        *("nnUNetv2_find_best_configuration", DATASET, "-p", "SpineHybridPlans", "-c", "2d", "3d_fullres"),
        *("-tr", TRAINER, "-f", "0", "-np", "2"),
    )
    assert TRAINER in output


def test_shared_model_predicts_the_same_elsewhere(trained: Workspace, tmp_path: Path) -> None:
    here = label_maps(trained.predict("here", "3d_fullres", plans="SpineHybridPlans"))
    assert here
    archive = tmp_path / "model.zip"
    trained.run(
        *("nnUNetv2_export_model_to_zip", "-d", DATASET, "-o", str(archive), "-c", "3d_fullres", "-f", "0"),
        *("-tr", TRAINER, "-p", "SpineHybridPlans"),
    )
    elsewhere = replace(trained, root=tmp_path / "elsewhere")
    shutil.copytree(trained.root / "nnUNet_raw", elsewhere.root / "nnUNet_raw")
    for name in ("preprocessed", "results"):
        (elsewhere.root / f"nnUNet_{name}").mkdir()
    elsewhere.run("nnUNetv2_install_pretrained_model_from_zip", str(archive))
    there = label_maps(elsewhere.predict("there", "3d_fullres", plans="SpineHybridPlans"))
    assert here.keys() == there.keys()
    assert all(np.array_equal(here[name], there[name]) for name in here)


@pytest.fixture(params=["regions", "ignore label"])
def unusual(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A dataset whose labels are regions, or whose training maps hold voxels to ignore."""
    workspace = Workspace(root=tmp_path_factory.mktemp("unusual"))
    for name in ("raw", "preprocessed", "results"):
        (workspace.root / f"nnUNet_{name}").mkdir()
    workspace.run("nnunet_spine", "phantom", "phantom", "--cases", "5", "--size", "64", "--slices", "8")
    workspace.run("nnunet_spine", "convert", "mrspineseg", "phantom", "-d", DATASET, "--labels", "paper004")
    facts = json.loads((workspace.dataset / "dataset.json").read_text())
    if request.param == "regions":
        facts["labels"] = {"background": 0, "spine": list(range(1, 9)), "lumbar": [2, 3, 4, 5, 6]}
        facts["regions_class_order"] = [1, 2]
    else:
        facts["labels"]["ignore"] = len(facts["labels"])
        for path in (workspace.dataset / "labelsTr").glob("*.nii.gz"):
            ignore_some_slices(path, value=facts["labels"]["ignore"])
    (workspace.dataset / "dataset.json").write_text(json.dumps(facts))
    return workspace


def ignore_some_slices(path: Path, *, value: int) -> None:
    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image)
    voxels[::3] = value
    changed = sitk.GetImageFromArray(voxels)
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(path))


def test_regions_and_ignore_label_train_and_predict(unusual: Workspace) -> None:
    unusual.run("nnUNetv2_plan_and_preprocess", "-d", DATASET, "-c", "3d_fullres", "-np", "2", "-npfp", "2")
    unusual.run("nnunet_spine", "plan", "-d", DATASET, "-tr", "SpineHybridTrainer", "-c", "3d_fullres")
    for plans in ("nnUNetPlans", "SpineHybridPlans"):
        unusual.train("3d_fullres", plans=plans)
    assert label_maps(unusual.predict("predictions", "3d_fullres"))


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str], *, seconds: float = 300) -> bool:
    """Return whether `happened` came true while the process ran."""
    for _ in polls(seconds):
        if happened():
            return True
        if process.poll() is not None:
            output = process.communicate()[0]
            pytest.fail(f"the command ended early with {process.returncode}:\n{output[-3000:]}")
    return False


def polls(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.05)


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
