"""The trainers of UNet++. The loss and the one target: tests/training/test_nested_supervision.py."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.training.auxiliary import AuxLoss
from nnunet_spine_ext.training.entry import predict, train
from nnunet_spine_ext.training.losses import ProbabilityMSELoss
from nnunet_spine_ext.training.nested_supervision import NestedSupervisionLoss
from nnunet_spine_ext.training.nested_trainer import NestedTrainer
from nnunet_spine_ext.training.schedules import StepDecay
from tests.conftest import NnunetFolders
from tests.training.tiny import NAME, MakeTrainer, log_of, make_dataset_json

FindTrainer = Callable[[str], Any]


@pytest.mark.parametrize("name", ["SpineUNetPPTrainer", "SpineUNetPPPaperTrainer"])
def test_trainer_and_registry_name_each_other(find_trainer: FindTrainer, name: str) -> None:
    trainer = find_trainer(name)
    row = NETWORKS[trainer.network_name]
    assert name in row.trainers
    assert dict(trainer.network_options) == dict(row.options)


def test_rows_with_full_resolution_outputs_have_trainers_that_know_it(find_trainer: FindTrainer) -> None:
    rows = [row for row in NETWORKS.values() if row.supervision == "full"]
    assert "unetpp" in {row.name for row in rows}
    for row in rows:
        assert all(issubclass(find_trainer(name), NestedTrainer) for name in row.trainers)


def test_one_target_for_all_networks(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("SpineUNetPPTrainer")
    trainer.initialize()
    assert isinstance(trainer.loss, NestedSupervisionLoss)
    assert trainer._get_deep_supervision_scales() == [[1.0, 1.0, 1.0]]
    assert "Loss: NestedSupervisionLoss" in log_of(trainer)


def test_the_loss_falls_on_a_batch_seen_again(make_trainer: MakeTrainer) -> None:
    torch.manual_seed(0)
    trainer = make_trainer("SpineUNetPPTrainer")
    trainer.initialize()
    batch = next(trainer.get_dataloaders()[0])
    trainer.on_train_epoch_start()
    losses = [float(trainer.train_step(batch)["loss"]) for _ in range(20)]
    assert losses[-1] < losses[0] - 0.3


# ---- the whole way -----------------------------------------------------------------------------------------------


@pytest.fixture
def keep_threads() -> Iterator[None]:
    """Undo what nnU-Net's command does on a CPU: torch on all cores, for the rest of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("keep_threads")
@pytest.mark.parametrize(
    ("trainer", "configuration"),
    [
        ("SpineUNetPPTrainer", "3d_fullres"),
        *(
            pytest.param(trainer, configuration, marks=pytest.mark.slow)
            for trainer, configuration in (
                ("SpineUNetPPTrainer", "2d"),
                ("SpineUNetPPPaperTrainer", "2d"),
                ("SpineACCUNetTrainer", "3d_fullres"),
                ("SpineUXNetTrainer", "3d_fullres"),
                ("SpineUXNetAdamWTrainer", "3d_fullres"),
            )
        ),
    ],
)
def test_train_validate_and_predict(tiny: NnunetFolders, trainer: str, configuration: str) -> None:
    name = f"{trainer}_1epochs_2iterations"
    train(["901", configuration, "0", "-tr", name, "-device", "cpu"])
    model = tiny.results / NAME / f"{name}__nnUNetPlans__{configuration}"
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert len(checkpoint["logging"]["train_losses"]) == 1
    assert np.isfinite(checkpoint["logging"]["train_losses"] + checkpoint["logging"]["val_losses"]).all()
    summary = json.loads((model / "fold_0" / "validation" / "summary.json").read_text())
    assert [Path(c["prediction_file"]).name for c in summary["metric_per_case"]] == ["t4.nii.gz"]
    output = tiny.results / "predictions"
    # Without worker processes: nnU-Net's own choice for -npp 0 -nps 0.
    predict(
        [
            *("-i", str(tiny.raw / NAME / "imagesTs"), "-o", str(output), "-d", "901", "-c", configuration, "-f", "0"),
            *("-tr", name, "-device", "cpu", "-npp", "0", "-nps", "0"),
        ]
    )
    predicted = sitk.GetArrayFromImage(sitk.ReadImage(str(output / "t5.nii.gz")))
    assert predicted.shape == (6, 32, 32)
    assert set(np.unique(predicted)) <= {0, 1, 2}


# ---- paper 000's recipe ------------------------------------------------------------------------------------------


def test_recipe_is_that_of_the_code(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("SpineUNetPPPaperTrainer", configuration="2d")
    trainer.initialize()
    assert trainer.num_epochs == 200
    assert isinstance(trainer.loss, AuxLoss)
    assert isinstance(trainer.loss.loss, ProbabilityMSELoss)
    assert [term.weight for term in trainer.loss.terms] == [1.0, 1.0]
    assert type(trainer.optimizer) is torch.optim.Adam
    assert trainer.optimizer.param_groups[0]["lr"] == 1e-3
    assert trainer.optimizer.param_groups[0]["weight_decay"] == 0
    assert isinstance(trainer.lr_scheduler, StepDecay)
    assert (trainer.plan_patch_size, trainer.plan_batch_size) == ((256, 256), 16)
    assert trainer.oversample_foreground_percent == 0
    assert sum(p.numel() for p in trainer.network.parameters()) == 1_962_720 + 3 * 2 * 9 * 32  # three classes, not one
    rates = []
    for epoch in (0, 9, 10, 19, 20):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 1e-3, 9.5e-4, 9.5e-4, 9.025e-4])


def test_an_epoch_is_all_cases_with_23_slices(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("SpineUNetPPPaperTrainer", configuration="2d")
    trainer.initialize()
    train_loader, validation = trainer.get_dataloaders()
    assert trainer.num_iterations_per_epoch == 46  # 4 cases x 23 slices / batch 2
    seen = Counter(str(case) for _ in range(46) for case in next(train_loader)["keys"])
    assert sorted(seen.values()) == [23] * 4
    flips, rest = train_loader.data_loader.transforms.transforms
    assert (flips.allowed_axes, flips.probability) == ((0, 1), 0.3)
    assert [type(t) for t in rest.transforms] == [type(t) for t in validation.data_loader.transforms.transforms]
    assert list(train_loader.data_loader.patch_size[-2:]) == [32, 32]


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_a_step_of_training_and_validation(make_trainer: MakeTrainer, configuration: str) -> None:
    trainer = make_trainer("SpineUNetPPPaperTrainer_1epochs_2iterations", configuration=configuration)
    trainer.initialize()
    train_loader, validation = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    # Three outputs, each with a mean squared error below 1.
    assert 0 < float(trainer.train_step(next(train_loader))["loss"]) < 3
    trainer.set_deep_supervision_enabled(False)
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert 0 < float(trainer.validation_step(next(validation))["loss"]) < 1
    noted = "NOTE: paper 000 trained this network on single slices" in log_of(trainer)
    assert noted == (configuration == "3d_fullres")


@pytest.mark.parametrize(("labels", "noted"), [({"background": 0, "spine": 1}, False), (None, True)])
def test_a_task_that_is_not_the_papers_is_named(
    make_trainer: MakeTrainer, labels: dict[str, int] | None, noted: bool
) -> None:
    trainer = make_trainer("SpineUNetPPPaperTrainer", configuration="2d", dataset=make_dataset_json(labels=labels))
    trainer.initialize()
    assert ("segments one structure, this dataset has 2" in log_of(trainer)) == noted
