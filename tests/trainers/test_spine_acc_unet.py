"""The trainer of ACC-UNet; the whole way from training to prediction: test_spine_unetpp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nnunet_spine_ext.networks.registry import NETWORKS
from tests.training.tiny import MakeTrainer
from tests.training.tiny_25d import plans_25d


def test_trainer_and_registry_name_each_other(find_trainer: Callable[[str], Any]) -> None:
    trainer = find_trainer("SpineACCUNetTrainer")
    row = NETWORKS[trainer.network_name]
    assert row.trainers == ("SpineACCUNetTrainer",)
    assert dict(trainer.network_options) == dict(row.options) == {}


@pytest.mark.parametrize("configuration", ["2d", "25d", "3d_fullres"])
def test_a_step_of_training_and_validation(make_trainer: MakeTrainer, configuration: str) -> None:
    trainer = make_trainer("SpineACCUNetTrainer", configuration=configuration, plans=plans_25d())
    trainer.initialize()
    train, validation = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    assert np.isfinite(trainer.train_step(next(train))["loss"])
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert np.isfinite(trainer.validation_step(next(validation))["loss"])


def test_the_loss_falls_on_a_batch_seen_again(make_trainer: MakeTrainer) -> None:
    torch.manual_seed(0)
    trainer = make_trainer("SpineACCUNetTrainer")
    trainer.initialize()
    batch = next(trainer.get_dataloaders()[0])
    trainer.on_train_epoch_start()
    losses = [float(trainer.train_step(batch)["loss"]) for _ in range(20)]
    assert losses[-1] < losses[0] - 0.3
