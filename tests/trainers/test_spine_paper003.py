"""The trainers of paper 003's plan-shaped networks. Their recipe: tests/training/test_paper003.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.training.label_losses import DiceLoss
from nnunet_spine_ext.training.paper003 import Paper003Recipe
from nnunet_spine_ext.training.trainer import SpineTrainer
from tests.trainers.building import network_without_data
from tests.training.tiny import MakeTrainer, log_of

NAMES = {
    "SpineUNet003Trainer": "unet-003",
    "SpineAttentionUNetTrainer": "attention-unet",
    "SpineResUNetPPTrainer": "resunetpp",
    "SpineMiniSegTrainer": "miniseg",
}
PAPER = {name.replace("Trainer", "PaperTrainer"): network for name, network in NAMES.items()}
FindTrainer = Callable[[str], Any]


build_without_data = partial(network_without_data, configuration="2d", classes=20)


@pytest.mark.parametrize(("name", "network"), [*NAMES.items(), *PAPER.items()])
def test_trainer_and_registry_name_each_other(find_trainer: FindTrainer, name: str, network: str) -> None:
    trainer = find_trainer(name)
    assert trainer.network_name == network
    assert name in NETWORKS[network].trainers
    assert issubclass(trainer, Paper003Recipe) == (name in PAPER)
    if name in NAMES:
        assert dict(trainer.network_options) == dict(NETWORKS[network].options)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("SpineUNet003PaperTrainer", 13_395_412),
        ("SpineAttentionUNetPaperTrainer", 34_878_656),
        ("SpineResUNetPPPaperTrainer", 14_482_039),
        ("SpineMiniSegPaperTrainer", 82_668),
    ],
)
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_paper_trainers_have_the_papers_sizes_on_any_plan(
    find_trainer: FindTrainer, name: str, parameters: int, configuration: str
) -> None:
    network = build_without_data(find_trainer(name), configuration=configuration)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("name", ["SpineResUNetPPTrainer", "SpineMiniSegTrainer"])
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_networks_with_dilations_know_the_patch(find_trainer: FindTrainer, name: str, configuration: str) -> None:
    network: Any = build_without_data(find_trainer(name), configuration=configuration)
    assert network.options.patch_size == {"2d": (32, 32), "3d_fullres": (4, 32, 32)}[configuration]
    assert find_trainer(name).network_options == {}


def test_checkpoints_load_in_networks_that_do_not_know_it(find_trainer: FindTrainer) -> None:
    class Unaware(SpineTrainer):
        network_name = "miniseg"

    aware = build_without_data(find_trainer("SpineMiniSegTrainer"), configuration="3d_fullres")
    other = build_without_data(Unaware, configuration="3d_fullres")
    assert other.options.patch_size is None  # type: ignore[union-attr]
    assert {k: v.shape for k, v in aware.state_dict().items()} == {k: v.shape for k, v in other.state_dict().items()}


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_two_steps_of_nnunets_recipe(make_trainer: MakeTrainer, configuration: str) -> None:
    if configuration == "2d":
        trainer = make_trainer("SpineResUNetPPTrainer", configuration="2d")
    else:
        trainer = make_trainer("SpineMiniSegTrainer")
    trainer.initialize()
    train, validation = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    assert all(np.isfinite(trainer.train_step(next(train))["loss"]) for _ in range(2))
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert np.isfinite(trainer.validation_step(next(validation))["loss"])
    assert "dilation" in log_of(trainer)


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_two_steps_of_the_papers_recipe(make_trainer: MakeTrainer, configuration: str) -> None:
    trainer = make_trainer("SpineMiniSegPaperTrainer_1epochs_2iterations", configuration=configuration)
    trainer.initialize()
    assert isinstance(trainer.loss, DiceLoss)
    train, validation = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    assert all(0 < float(trainer.train_step(next(train))["loss"]) < 1 for _ in range(2))
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert 0 < float(trainer.validation_step(next(validation))["loss"]) < 1
    assert ("paper 003 trained this network on single slices" in log_of(trainer)) == (configuration == "3d_fullres")
