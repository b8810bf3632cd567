"""The recipes of paper 001, on patches of several slices (25d) and on the tiny dataset."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.networks.slices import SliceWise
from nnunet_spine_ext.training.entry import predict, train
from nnunet_spine_ext.training.log_dice import LogDiceLoss
from nnunet_spine_ext.training.plateau import PlateauSchedule
from tests.conftest import NnunetFolders
from tests.trainers.building import network_without_data
from tests.training.tiny import NAME, ORDERED, MakeTrainer, log_of, make_dataset_json, make_plans, write_tiny_dataset
from tests.training.tiny_25d import plans_25d, write_plans_25d

NNUNETS = {
    "SpineRes50UNetTrainer": "res50-unet",
    "SpineUNet001Trainer": "unet-001",
    "SpineUNetBN001Trainer": "unet-bn-001",
    "SpineUNetDense001Trainer": "unet-dense-001",
}
PAPERS = {name.replace("Trainer", "PaperTrainer"): row for name, row in NNUNETS.items()}
SIZES = {
    "SpineRes50UNetPaperTrainer": 23_649_601,
    "SpineUNet001PaperTrainer": 31_034_049,
    "SpineUNetBN001PaperTrainer": 7_705_281,
    "SpineUNetDense001PaperTrainer": 1_125_665,
}
RATES = dict.fromkeys(SIZES, 5e-3) | {"SpineUNet001PaperTrainer": 1e-5}
SMALLEST = "SpineUNetDense001PaperTrainer"

FindTrainer = Callable[[str], Any]


@pytest.fixture(autouse=True)
def keep_threads() -> Iterator[None]:
    """Undo what nnU-Net's command does on a CPU: torch on all cores, for the rest of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


build_without_data = partial(network_without_data, configuration="25d", classes=1, plans=plans_25d())


def norms_of(network: nn.Module) -> set[str]:
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)
    return {type(m).__name__ for m in network.modules() if isinstance(m, kinds)}


# ---- networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "row"), (NNUNETS | PAPERS).items())
def test_trainer_and_registry_name_each_other(find_trainer: FindTrainer, name: str, row: str) -> None:
    assert find_trainer(name).network_name == row
    assert name in NETWORKS[row].trainers


@pytest.mark.parametrize("configuration", ["25d", "3d_fullres"])
@pytest.mark.parametrize(("name", "weights"), SIZES.items())
def test_a_paper_trainer_builds_the_papers_size_on_any_plan(
    find_trainer: FindTrainer, name: str, weights: int, configuration: str
) -> None:
    network = build_without_data(find_trainer(name), configuration=configuration)
    assert isinstance(network, SliceWise)
    assert (network.neighbours, network.coordinates, network.axis) == (2, True, 0)
    assert sum(p.numel() for p in network.parameters()) == weights


def test_the_unet_has_no_norm_and_the_others_batchnorm(find_trainer: FindTrainer) -> None:
    norms = {name: norms_of(build_without_data(find_trainer(name))) for name in SIZES}
    assert norms["SpineUNet001PaperTrainer"] == set()
    assert norms["SpineUNetBN001PaperTrainer"] == norms[SMALLEST] == {"BatchNorm2d"}
    assert norms["SpineRes50UNetPaperTrainer"] == {"BatchNorm2d", "GroupNorm"}


@pytest.mark.parametrize("name", [n for n in NNUNETS if "Res50" not in n])
def test_nnunets_recipe_has_the_plans_norm_and_stages(find_trainer: FindTrainer, name: str) -> None:
    network: Any = build_without_data(find_trainer(name), classes=3)
    assert norms_of(network) == {"InstanceNorm2d"}
    assert len(network.decoder.seg_layers) == 2  # three stages in the tiny plan


# ---- the paper's recipe ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "rate"), RATES.items())
def test_recipe_is_that_of_the_text(make_trainer: MakeTrainer, name: str, rate: float) -> None:
    trainer = make_trainer(name, configuration="25d", plans=plans_25d())
    trainer.initialize()
    assert trainer.num_epochs * trainer.num_iterations_per_epoch == 10_000
    assert isinstance(trainer.loss, LogDiceLoss)
    assert (trainer.loss.smooth, trainer.loss.form) == (1, "prose")
    assert type(trainer.optimizer) is torch.optim.Adam
    assert trainer.optimizer.param_groups[0]["lr"] == rate
    assert trainer.optimizer.param_groups[0]["weight_decay"] == 0
    assert isinstance(trainer.lr_scheduler, PlateauSchedule)
    assert not trainer.enable_deep_supervision
    assert trainer.oversample_foreground_percent == 0
    assert trainer.plan_configuration == "25d"


def test_batch_dice_is_the_plans(make_trainer: MakeTrainer) -> None:
    plans = plans_25d()
    plans["configurations"]["2d"]["batch_dice"] = True
    for configuration, expected in (("25d", True), ("3d_fullres", False)):
        trainer = make_trainer(SMALLEST, configuration=configuration, plans=plans)
        assert trainer.build_loss().batch_dice is expected


def test_nothing_is_augmented_or_mirrored(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(SMALLEST, configuration="25d", plans=plans_25d())
    trainer.initialize()
    train_loader, validation = trainer.get_dataloaders()
    assert trainer.inference_allowed_mirroring_axes is None
    loader = train_loader.data_loader
    assert list(loader.patch_size) == list(loader.final_patch_size) == [4, 32, 32]
    kinds = [type(t) for t in validation.data_loader.transforms.transforms]
    (only,) = loader.transforms.transforms
    assert [type(t) for t in only.transforms] == kinds


@pytest.mark.parametrize("name", NNUNETS)
def test_nnunets_recipe_mirrors_the_order_of_slices_alone(make_trainer: MakeTrainer, name: str) -> None:
    dataset = make_dataset_json(spine=ORDERED)
    trainer = make_trainer(name, configuration="25d", plans=plans_25d(), dataset=dataset)
    *_, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert axes == trainer.inference_allowed_mirroring_axes == (0,)


def test_the_rate_follows_the_loss(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(SMALLEST, configuration="25d", plans=plans_25d())
    trainer.initialize()
    ones = np.ones(2, dtype=np.float32)
    rates = []
    for epoch in range(13):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        trainer.on_validation_epoch_end([{"loss": np.array(1.0), "tp_hard": ones, "fp_hard": ones, "fn_hard": ones}])
    # The first loss is the best; ten epochs are borne, the eleventh is not.
    assert rates == pytest.approx([5e-3] * 12 + [5e-4])


@pytest.mark.parametrize(("name", "divisible"), [("SpineUNet001PaperTrainer", 48), (SMALLEST, 40)])
def test_a_patch_that_the_papers_stages_do_not_divide_is_refused(
    make_trainer: MakeTrainer, name: str, divisible: int
) -> None:
    trainer = make_trainer(name, configuration="25d", plans=plans_25d(plane=(36, 32)))
    with pytest.raises(SetupError, match=rf"\(\d+, 36, 32\) .* is \(\d+, {divisible}, 32\)"):
        trainer.initialize()


def test_res50_unet_takes_any_patch(make_trainer: MakeTrainer) -> None:
    make_trainer("SpineRes50UNetPaperTrainer", configuration="25d", plans=plans_25d(plane=(36, 30))).check_suitable()


@pytest.mark.parametrize(
    ("facts", "structures"),
    [
        (make_dataset_json(labels={"background": 0, "spine": 1}), None),
        (make_dataset_json(labels={"background": 0, "spine": [1, 2]}, regions_class_order=[1]), None),
        (make_dataset_json(), 2),
    ],
)
def test_a_task_that_is_not_the_papers_is_named(
    make_trainer: MakeTrainer, facts: dict[str, Any], structures: int | None
) -> None:
    trainer = make_trainer(SMALLEST, configuration="25d", plans=plans_25d(), dataset=facts)
    trainer.check_suitable()
    assert (f"segments one structure, this dataset has {structures}" in log_of(trainer)) == (structures is not None)
    assert ("segments one structure" in log_of(trainer)) == (structures is not None)


@pytest.mark.parametrize(
    "facts",
    [
        make_dataset_json(labels={"background": 0, "L5": 1, "L4": 2, "ignore": 3}),
        make_dataset_json(labels={"background": 0, "spine": [1, 2], "ignore": 3}, regions_class_order=[1]),
    ],
    ids=["ignore label", "regions and ignore label"],
)
def test_a_step_of_training_and_validation_with_every_kind_of_labels(
    make_trainer: MakeTrainer, nnunet_folders: NnunetFolders, facts: dict[str, Any]
) -> None:
    # With an ignore label, preprocessing notes where there is annotation.
    for folder in (nnunet_folders.raw, nnunet_folders.preprocessed):
        shutil.rmtree(folder)
        folder.mkdir()
    write_tiny_dataset(nnunet_folders, dataset=facts)
    trainer = make_trainer(SMALLEST, plans=make_plans(), dataset=facts)
    trainer.initialize()
    training, validation = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    assert float(trainer.train_step(next(training))["loss"]) > 0
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert float(trainer.validation_step(next(validation))["loss"]) > 0


def test_the_loss_falls_on_a_batch_seen_again(make_trainer: MakeTrainer) -> None:
    torch.manual_seed(0)
    one = make_dataset_json(labels={"background": 0, "spine": [1, 2]}, regions_class_order=[1])
    trainer = make_trainer(SMALLEST, configuration="25d", plans=plans_25d(slices=2), dataset=one)
    trainer.initialize()
    training, _ = trainer.get_dataloaders()
    seen = next(training)
    trainer.on_train_epoch_start()
    losses = [float(trainer.train_step(seen)["loss"]) for _ in range(10)]
    assert losses[-1] < 0.5 * losses[0]


# ---- end to end --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("configuration", ["25d", pytest.param("3d_fullres", marks=pytest.mark.slow)])
def test_train_validate_and_predict(tiny: NnunetFolders, configuration: str) -> None:
    write_plans_25d(tiny)
    trainer = "SpineRes50UNetPaperTrainer_1epochs_2iterations"
    train(["901", configuration, "0", "-tr", trainer, "-device", "cpu"])

    model = tiny.results / NAME / f"{trainer}__nnUNetPlans__{configuration}"
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["current_epoch"] == 1
    assert checkpoint["inference_allowed_mirroring_axes"] is None
    assert np.isfinite(checkpoint["logging"]["val_losses"]).all()
    assert checkpoint["init_args"]["nnunet_spine_ext_plateau"]["best"] == checkpoint["logging"]["val_losses"][0]
    summary = json.loads((model / "fold_0" / "validation" / "summary.json").read_text())
    assert [Path(c["prediction_file"]).name for c in summary["metric_per_case"]] == ["t4.nii.gz"]
    (log,) = (model / "fold_0").glob("training_log*.txt")
    assert "Res50UNet" in log.read_text() or "res50-unet" in log.read_text()
    assert "Mirroring: none" in log.read_text()

    output = tiny.results / "predictions"
    predict(
        [
            *("-i", str(tiny.raw / NAME / "imagesTs"), "-o", str(output), "-d", "901", "-c", configuration, "-f", "0"),
            *("-tr", trainer, "-device", "cpu", "-npp", "0", "-nps", "0"),
        ]
    )
    predicted = sitk.GetArrayFromImage(sitk.ReadImage(str(output / "t5.nii.gz")))
    assert predicted.shape == (6, 32, 32)
    assert set(np.unique(predicted)) <= {0, 1, 2}
