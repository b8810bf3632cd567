"""Which preset is the baseline: on figures worked by hand, and on real counts of real plans."""

from __future__ import annotations

import json
import os
from math import log
from pathlib import Path
from unittest import mock

import pytest

from nnunet_spine_ext.benchmark import baseline
from nnunet_spine_ext.benchmark.baseline import BaselineChoice, Figures, choose_baselines, distance
from nnunet_spine_ext.benchmark.baseline_presets import PRESETS, plan_presets
from nnunet_spine_ext.benchmark.costs.counts import TrainingCount
from nnunet_spine_ext.benchmark.costs.plan import PlannedModel
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.errors import PlanError, SetupError
from tests.conftest import NnunetFolders
from tests.planning.synthetic import write_dataset, write_stock_plans

FIGURES: dict[str, tuple[float, int]] = {
    "nnUNetPlans": (8, 100),
    "nnUNetResEncUNetMPlans": (9, 140),
    "nnUNetResEncUNetLPlans": (22, 400),
    "nnUNetResEncUNetXLPlans": (40, 800),
    "LightPlans": (6, 70),
    "HungryPlans": (9, 410),
    "LargePlans": (20, 500),
}
"""Plans → GB and floating-point operations of a step; every training has ten steps."""


def test_the_distance_adds_the_logarithms_of_both_ratios() -> None:
    one = Figures(memory_gb=8, flops=1e18)
    assert distance(one, one) == 0
    assert distance(one, Figures(memory_gb=16, flops=1e18)) == pytest.approx(log(2))
    assert distance(one, Figures(memory_gb=16, flops=5e17)) == pytest.approx(2 * log(2))
    assert distance(Figures(memory_gb=16, flops=5e17), one) == pytest.approx(2 * log(2))


@pytest.fixture
def planned(nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset with plans by the names in `FIGURES`, which stand for their counts; 2d needs half the memory."""

    def count(planned: PlannedModel) -> TrainingCount:
        if planned.trainer == "Uncountable":
            raise PlanError("it reads values")
        memory, flops = FIGURES[planned.plans["plans_name"]]
        factor = 0.5 if planned.configuration == "2d" else 1
        return TrainingCount(memory_gb=memory * factor, overhead_gb=2.4, step_flops=flops, steps=10, batch_size=2)

    monkeypatch.setattr(baseline, "count_training", count)
    folder = nnunet_folders.preprocessed / "Dataset501_Synthetic"
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "spine": 1}}))
    for name in FIGURES:
        write_plans(folder, name, "2d", "3d_fullres")
    return folder


def write_plans(folder: Path, name: str, *configurations: str) -> None:
    content = {"plans_name": name, "configurations": {c: {} for c in configurations}}
    (folder / f"{name}.json").write_text(json.dumps(content))


def model(plans: str, *, configuration: str = "3d_fullres", trainer: str = "SpineHybridTrainer") -> Model:
    return Model(trainer=trainer, plans=plans, configuration=configuration, title=plans.removesuffix("Plans"))


def chosen(*models: Model, limit_gb: float | None = None, trainer: str = "nnUNetTrainer") -> dict[str, BaselineChoice]:
    choices = choose_baselines(501, models, gpu_memory_target_gb=limit_gb, trainer=trainer)
    return {title: choice for choice in choices for title in choice.for_models}


@pytest.mark.usefixtures("planned")
def test_memory_and_compute_decide_together() -> None:
    found = chosen(model("LightPlans"), model("HungryPlans"), model("LargePlans"))
    assert found["Light"].model.plans == "nnUNetPlans"
    # 9 GB as ResEnc M has, but the compute of L: |ln 9/9| + |ln 410/140| = 1.07, |ln 9/22| + |ln 410/400| = 0.92.
    assert found["Hungry"].model.plans == "nnUNetResEncUNetLPlans"
    assert found["Large"] is found["Hungry"]
    assert found["Hungry"].for_models == ("Hungry", "Large")
    because = found["Hungry"].because
    assert "9.0 GB and 4.1e+03 FLOPs in 10 steps" in because  # the model's
    assert "22.0 GB and 4e+03 FLOPs in 10 steps" in because  # the preset's
    assert "distance 0.92 (others: nnU-Net 3d_fullres 1.53, nnU-Net ResEnc M 3d_fullres 1.07" in because
    assert found["Light"].model == Model(
        trainer="nnUNetTrainer",
        plans="nnUNetPlans",
        configuration="3d_fullres",
        title="nnU-Net (3d_fullres)",
        baseline=True,
    )


@pytest.mark.usefixtures("planned")
def test_presets_for_larger_gpus_are_left_out_and_named() -> None:
    found = chosen(model("LargePlans"), limit_gb=23)
    assert found["Large"].model.plans == "nnUNetResEncUNetMPlans"
    assert "Left out, being made for more than 23 GB: nnU-Net ResEnc L, nnU-Net ResEnc XL." in found["Large"].because
    assert chosen(model("LargePlans"), limit_gb=24)["Large"].model.plans == "nnUNetResEncUNetLPlans"


@pytest.mark.usefixtures("planned")
def test_on_a_gpu_too_small_for_any_preset_the_smallest_remain() -> None:
    found = chosen(model("LargePlans"), limit_gb=4)["Large"]
    assert found.model.plans == "nnUNetResEncUNetMPlans"
    assert "No preset is made for a GPU of 4 GB; the smallest are for 8 GB." in found.because


@pytest.mark.usefixtures("planned")
def test_the_baseline_takes_the_models_configuration_and_the_given_trainer() -> None:
    trainer = "SpineBaselineTrainer_50epochs"
    found = chosen(model("LightPlans", configuration="2d"), model("LargePlans"), trainer=trainer)
    assert found["Light"].model.folder_name == f"{trainer}__nnUNetPlans__2d"
    assert found["Large"].model.folder_name == f"{trainer}__nnUNetResEncUNetLPlans__3d_fullres"


def test_a_configuration_that_no_preset_has_is_compared_with_2d_and_3d(planned: Path) -> None:
    write_plans(planned, "LightPlans", "25d")
    # 6 GB, 70: from nnUNetPlans in 2d, 4 GB, 100: 0.76; in 3d, 8 GB, 100: 0.64.
    found = chosen(model("LightPlans", configuration="25d"))["Light"]
    assert found.model.configuration == "3d_fullres"
    assert "distance 0.64 (others: nnU-Net 2d 0.76" in found.because


def test_presets_without_plans_are_named_with_the_command_that_plans_them(planned: Path) -> None:
    (planned / "nnUNetResEncUNetLPlans.json").unlink()
    found = chosen(model("LargePlans"))["Large"]
    assert found.model.plans == "nnUNetResEncUNetXLPlans"
    assert found.because.endswith(
        "Not considered, for want of plans: nnUNetv2_plan_experiment -d 501 -pl nnUNetPlannerResEncL."
    )
    for preset in PRESETS:
        (planned / f"{preset.plans}.json").unlink(missing_ok=True)
    with pytest.raises(SetupError, match=r"No preset.*nnUNetv2_plan_experiment -d 501 -pl ExperimentPlanner;"):
        chosen(model("LargePlans"))


@pytest.mark.usefixtures("planned")
def test_baselines_need_no_baseline_and_a_listed_one_keeps_its_title() -> None:
    mine = Model(
        trainer="nnUNetTrainer", plans="nnUNetPlans", configuration="3d_fullres", title="Plain", baseline=False
    )
    assert choose_baselines(501, [mine]) == ()
    (choice,) = choose_baselines(501, [mine, model("LightPlans")])
    assert (choice.model.title, choice.model.baseline, choice.for_models) == ("Plain", True, ("Light",))


@pytest.mark.usefixtures("planned")
def test_a_model_that_cannot_be_counted_says_so() -> None:
    found = chosen(model("LargePlans", trainer="Uncountable"))["Large"]
    assert found.model.plans == "nnUNetPlans"
    assert "could not be counted (it reads values)" in found.because


@pytest.mark.usefixtures("planned")
def test_everything_missing_is_said_at_once() -> None:
    with pytest.raises(SetupError) as error:
        chosen(model("AbsentPlans"), model("LightPlans", configuration="3d_lowres"))
    assert "There is no AbsentPlans.json" in str(error.value)
    assert "LightPlans has no configuration 3d_lowres; it has 2d, 3d_fullres" in str(error.value)


def test_real_plans_are_their_own_nearest_and_planning_leaves_them_alone(nnunet_folders: NnunetFolders) -> None:
    folder = write_dataset(nnunet_folders, shape=(12, 96, 72), spacing_mm=(4.4, 0.9, 0.9))
    write_stock_plans()
    stock = folder / "nnUNetPlans.json"
    before, said = stock.read_bytes(), list[str]()
    with mock.patch.dict(os.environ, {"nnUNet_n_proc_DA": "0"}):
        written = plan_presets(501, presets=PRESETS[:2], say=said.append)
    assert written == [folder / "nnUNetResEncUNetMPlans.json"]
    assert said == [
        "nnUNetv2_plan_experiment -d 501 -pl nnUNetPlannerResEncM",
        "To do: nnUNetv2_preprocess -d 501 -plans_name nnUNetResEncUNetMPlans -c 2d 3d_fullres",
    ]
    assert stock.read_bytes() == before
    assert plan_presets(501, presets=PRESETS[:2], say=said.append) == []
    assert len(said) == 2
    for name, source in (("PlainPlans", stock), ("ResidualPlans", written[0])):
        (folder / f"{name}.json").write_text(source.read_text())
    found = chosen(
        model("PlainPlans", trainer="SpineBaselineTrainer"), model("ResidualPlans", trainer="SpineBaselineTrainer")
    )
    assert found["Plain"].model.plans == "nnUNetPlans"
    assert found["Residual"].model.plans == "nnUNetResEncUNetMPlans"
    assert "distance 0.00" in found["Plain"].because
    assert "distance 0.00" in found["Residual"].because


def test_planning_presets_needs_a_fingerprint(nnunet_folders: NnunetFolders) -> None:
    (nnunet_folders.preprocessed / "Dataset501_Synthetic").mkdir()
    with pytest.raises(SetupError, match="nnUNetv2_extract_fingerprint -d 501"):
        plan_presets(501)
