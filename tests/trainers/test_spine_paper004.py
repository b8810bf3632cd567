"""The trainers of paper 004. Their recipe: tests/training/test_paper004.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.training.label_losses import CrossEntropyLoss
from nnunet_spine_ext.training.paper004 import Paper004Recipe
from tests.trainers.building import network_without_data
from tests.training.tiny import MakeTrainer, log_of

NAMES = {
    "SpineASPPUNetTrainer": "aspp-unet",
    "SpineUNet2D004Trainer": "unet-2d-004",
    "SpineUNet3D004Trainer": "unet-3d-004",
    "SpineSegNetTrainer": "segnet",
    "SpineDeepLabV3Trainer": "deeplabv3",
}
PAPER = {name.replace("Trainer", "PaperTrainer"): network for name, network in NAMES.items()}
FindTrainer = Callable[[str], Any]


build_without_data = partial(network_without_data, configuration="2d", classes=9)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("name", "network"), [*NAMES.items(), *PAPER.items()])
def test_trainer_and_registry_name_each_other(find_trainer: FindTrainer, name: str, network: str) -> None:
    trainer = find_trainer(name)
    assert trainer.network_name == network
    assert name in NETWORKS[network].trainers
    assert issubclass(trainer, Paper004Recipe) == (name in PAPER)
    if name in NAMES:
        assert dict(trainer.network_options) == dict(NETWORKS[network].options)


@pytest.mark.parametrize(
    ("name", "configuration", "size"),
    [
        # 21 995 465 without the norms on pooled lines (2 for each of 64 + 128 + 256 + 512 channels).
        ("SpineASPPUNetPaperTrainer", "2d", 21_995_465 - 1_920),
        ("SpineASPPUNetPaperTrainer", "3d_fullres", 21_995_465 - 1_920),
        ("SpineUNet2D004PaperTrainer", "2d", 14_788_297),
        ("SpineSegNetPaperTrainer", "2d", 15_282_057),
        ("SpineSegNetPaperTrainer", "3d_fullres", 15_282_057),
    ],
)
def test_paper_trainers_have_the_papers_sizes_on_any_plan(
    find_trainer: FindTrainer, name: str, configuration: str, size: int
) -> None:
    assert parameters(build_without_data(find_trainer(name), configuration=configuration)) == size


def test_3d_unet_differs_from_the_counted_one_by_the_slices_it_does_not_pool(find_trainer: FindTrainer) -> None:
    # 42 945 353 with 2 x 2 x 2 transposed convolutions; here they are 1 x 2 x 2, four voxels less, c to c.
    counted = 42_945_353
    fewer = sum(4 * c * c for c in (512, 256, 128, 64))
    network = build_without_data(find_trainer("SpineUNet3D004PaperTrainer"), configuration="3d_fullres")
    assert parameters(network) == counted - fewer


def test_deeplabv3_is_the_classical_one(find_trainer: FindTrainer) -> None:
    paper: Any = build_without_data(find_trainer("SpineDeepLabV3PaperTrainer"))
    # 58 624 468 for 20 classes; a class is a 1x1 convolution of 256 channels with bias.
    assert parameters(paper) == 58_624_468 - 11 * 257


def test_arm_without_aspp_differs_in_nothing_else(find_trainer: FindTrainer) -> None:
    full, arm = find_trainer("SpineASPPUNetTrainer"), find_trainer("SpineASPPUNetNoASPPTrainer")
    assert arm.__name__ in NETWORKS["aspp-unet"].trainers
    own = {name for name in vars(arm) if not name.startswith("__")}
    assert own == {"network_name", "network_options", "source_file", "full_length_name"}
    states = [set(build_without_data(t, configuration="3d_fullres").state_dict()) for t in (full, arm)]
    assert states[1] == {key for key in states[0] if ".contexts." not in key}


def test_rates_fit_the_maps_of_the_plan(find_trainer: FindTrainer) -> None:
    # Maps of 32 and 16 voxels in the plan's two upper stages.
    network: Any = build_without_data(find_trainer("SpineASPPUNetTrainer"), configuration="3d_fullres")
    dilations = [[line[0].dilation[1:] for line in context.lines[1:]] for context in network.encoder.contexts]
    assert dilations == [[(6, 6), (12, 12), (15, 15)], [(6, 6), (7, 7), (7, 7)]]


def test_paper_network_of_volumes_refuses_slices(make_trainer: MakeTrainer) -> None:
    with pytest.raises(SetupError, match="configuration 2d is 2D"):
        make_trainer("SpineUNet3D004PaperTrainer", configuration="2d").initialize()


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_two_steps_of_nnunets_recipe(make_trainer: MakeTrainer, configuration: str) -> None:
    name = "SpineSegNetTrainer" if configuration == "2d" else "SpineASPPUNetTrainer"
    trainer = make_trainer(name, configuration=configuration)
    trainer.initialize()
    train, validation = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    assert all(np.isfinite(trainer.train_step(next(train))["loss"]) for _ in range(2))
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert np.isfinite(trainer.validation_step(next(validation))["loss"])


def test_segnet_trains_volumes_slice_by_slice(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("SpineSegNetTrainer")
    trainer.initialize()
    train, _ = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    assert np.isfinite(trainer.train_step(next(train))["loss"])


def test_two_steps_of_the_papers_recipe(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunet_spine_ext.networks import aspp_unet
    from nnunet_spine_ext.networks.planned import plain_words

    narrow = plain_words((4, 8, 8, 8, 8), convs=(4, 2, 2, 2, 2), convs_up=2)
    monkeypatch.setattr(aspp_unet, "paper_architecture", lambda: narrow)
    trainer = make_trainer("SpineASPPUNetPaperTrainer_1epochs_2iterations", configuration="2d")
    trainer.initialize()
    assert isinstance(trainer.loss, CrossEntropyLoss)
    train, validation = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    assert all(0 < float(trainer.train_step(next(train))["loss"]) < 10 for _ in range(2))
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert 0 < float(trainer.validation_step(next(validation))["loss"]) < 10
    assert "paper 004 trained this network on single slices" not in log_of(trainer)
