"""The trainers of 3D UX-Net; the whole way from training to prediction: test_spine_unetpp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.training.adamw import AdamWTrainer, WarmUpPoly
from nnunet_spine_ext.training.trainer import SpineTrainer
from tests.training.tiny import MakeTrainer
from tests.training.tiny_25d import plans_25d

NAMES = ("SpineUXNetTrainer", "SpineUXNetAdamWTrainer")


@pytest.mark.parametrize("name", NAMES)
def test_trainer_and_registry_name_each_other(find_trainer: Callable[[str], Any], name: str) -> None:
    trainer = find_trainer(name)
    row = NETWORKS[trainer.network_name]
    assert name in row.trainers
    assert dict(trainer.network_options) == dict(row.options) == {}


def test_trainers_differ_in_the_optimizer_alone(find_trainer: Callable[[str], Any]) -> None:
    classes = [AdamWTrainer, *map(find_trainer, NAMES)]
    own = {attribute for each in classes for attribute in vars(each) if not attribute.startswith("__")}
    assert own == {"network_name", "recipe", "configure_optimizers", "source_file", "full_length_name"}
    assert all(each.__mro__[1] in (SpineTrainer, AdamWTrainer) for each in classes)


def test_adamw_at_the_published_rate(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("SpineUXNetAdamWTrainer")
    trainer.initialize()
    assert type(trainer.optimizer) is torch.optim.AdamW
    assert isinstance(trainer.lr_scheduler, WarmUpPoly)
    trainer.current_epoch = 50
    trainer.on_train_epoch_start()
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)
    assert trainer.optimizer.param_groups[0]["weight_decay"] == 0.01
    assert trainer.enable_deep_supervision


@pytest.mark.parametrize(
    ("name", "configuration"),
    [(NAMES[0], "2d"), (NAMES[0], "25d"), (NAMES[0], "3d_fullres"), (NAMES[1], "3d_fullres")],
)
def test_a_step_of_training_and_validation(make_trainer: MakeTrainer, name: str, configuration: str) -> None:
    trainer = make_trainer(name, configuration=configuration, plans=plans_25d())
    trainer.initialize()
    train, validation = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    assert np.isfinite(trainer.train_step(next(train))["loss"])
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert np.isfinite(trainer.validation_step(next(validation))["loss"])


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_falls_on_a_batch_seen_again(make_trainer: MakeTrainer, name: str) -> None:
    torch.manual_seed(0)
    trainer = make_trainer(f"{name}_2epochs")  # no warm-up in two epochs
    trainer.initialize()
    batch = next(trainer.get_dataloaders()[0])
    trainer.on_train_epoch_start()
    losses = [float(trainer.train_step(batch)["loss"]) for _ in range(20)]
    assert losses[-1] < losses[0] - 0.1
