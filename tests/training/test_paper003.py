"""Paper 003's recipe, on nnU-Net's own network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from torch import nn

from nnunet_spine_ext.networks.slice_network import AuxTerm
from nnunet_spine_ext.training import slice_trainer
from nnunet_spine_ext.training.artefacts import GhostingTransform, MotionTransform
from nnunet_spine_ext.training.auxiliary import AuxLoss
from nnunet_spine_ext.training.label_losses import DiceLoss
from nnunet_spine_ext.training.paper003 import PROBABILITY, Paper003Recipe, artefacts
from nnunet_spine_ext.training.plain_windows import thick_slice_plane
from nnunet_spine_ext.training.slice_trainer import SliceTrainer
from tests.training.tiny import ORDERED, MakeTrainer, log_of, make_dataset_json


class OnThePlansNetwork(Paper003Recipe):
    pass


@pytest.fixture
def trainer(make_trainer: MakeTrainer) -> Any:
    made = make_trainer(OnThePlansNetwork)
    made.initialize()
    return made


def transforms_of(trainer: Any) -> list[Any]:
    train, _ = trainer.get_dataloaders()
    return list(train.data_loader.transforms.transforms)


def test_numbers_are_those_of_the_text(trainer: Any) -> None:
    assert trainer.num_epochs == 100
    assert isinstance(trainer.loss, DiceLoss)
    assert type(trainer.optimizer) is torch.optim.Adam
    (group,) = trainer.optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (5e-4, 0)
    assert not trainer.enable_deep_supervision
    assert trainer.oversample_foreground_percent == 0
    assert "own build_loss, own configure_optimizers, own get_training_transforms" in log_of(trainer)


def test_rate_is_constant(trainer: Any) -> None:
    rates = []
    for epoch in (0, 1, 99):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == [5e-4] * 3


def test_dice_is_over_the_batch_as_the_plan_says(trainer: Any) -> None:
    assert trainer.loss.dc.batch_dice == trainer.configuration_manager.batch_dice
    assert trainer.loss.dc.do_bg


def test_the_four_artefacts_are_the_only_augmentation(trainer: Any) -> None:
    *found, rest = transforms_of(trainer)
    assert [type(t.transform) for t in found] == [
        GaussianNoiseTransform, GaussianBlurTransform, MotionTransform, GhostingTransform,
    ]  # fmt: skip
    assert {t.apply_probability for t in found} == {PROBABILITY}
    _, validation = trainer.get_dataloaders()
    assert [type(t) for t in rest.transforms] == [type(t) for t in validation.data_loader.transforms.transforms]


def test_artefacts_are_in_the_slices_and_in_mm(trainer: Any) -> None:
    # The plan's voxels are 4 x 1 x 1 mm.
    _, blur, motion, ghosting, _ = transforms_of(trainer)
    assert blur.transform.blur_sigma.plane == motion.transform.plane == ghosting.transform.plane == (1, 2)
    assert blur.transform.blur_sigma.spacing_mm == motion.transform.spacing_mm == (1.0, 1.0)


@pytest.mark.parametrize(
    ("spacing", "dims", "plane"),
    [
        ((4.4, 0.34, 0.34), 3, (1, 2)),
        ((0.34, 0.34, 4.4), 3, (0, 1)),
        ((1.0, 0.8, 0.8), 3, (0, 1, 2)),
        ((2.4, 0.8, 0.9), 3, (0, 1, 2)),
        ((0.34, 0.34), 2, (0, 1)),
        ((0.34, 0.34), 3, (1, 2)),
    ],
)
def test_slices_are_thick_where_voxels_are_long(spacing: tuple[float, ...], dims: int, plane: tuple[int, ...]) -> None:
    assert thick_slice_plane(spacing, dims=dims) == plane


def test_each_artefact_changes_the_image_and_leaves_the_labels() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    for transform in artefacts((1, 2), spacing_mm=(1.0, 1.0)):
        labels = torch.randint(0, 3, (1, 4, 32, 32))
        changed = 0
        for _ in range(200):
            sample = {"image": torch.randn(1, 4, 32, 32), "segmentation": labels.clone()}
            before = sample["image"].clone()
            result = transform(**sample)
            assert torch.equal(result["segmentation"], labels)
            changed += not torch.equal(result["image"], before)
        # A quarter of 200, give or take four standard deviations.
        assert 25 < changed < 75


def test_nothing_is_mirrored_or_rotated_and_windows_lie_in_the_image(trainer: Any) -> None:
    train, _ = trainer.get_dataloaders()
    assert trainer.inference_allowed_mirroring_axes is None
    assert list(train.data_loader.patch_size) == list(train.data_loader.final_patch_size) == [4, 32, 32]
    assert "Mirroring: none" in log_of(trainer)


def test_ordered_labels_change_nothing(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(OnThePlansNetwork, dataset=make_dataset_json(spine=ORDERED))
    trainer.initialize()
    assert len(transforms_of(trainer)) == 5


@pytest.mark.parametrize(("configuration", "noted"), [("2d", False), ("3d_fullres", True)])
def test_volumes_are_noted(make_trainer: MakeTrainer, configuration: str, noted: bool) -> None:
    trainer = make_trainer(OnThePlansNetwork, configuration=configuration)
    trainer.initialize()
    assert ("paper 003 trained this network on single slices" in log_of(trainer)) == noted


def test_two_steps_of_training_and_one_of_validation(trainer: Any) -> None:
    train, validation = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    for _ in range(2):
        assert 0 < float(trainer.train_step(next(train))["loss"]) < 1
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert 0 < float(trainer.validation_step(next(validation))["loss"]) < 1


def test_the_loss_falls_on_a_batch_seen_again(trainer: Any) -> None:
    train, _ = trainer.get_dataloaders()
    seen = next(train)
    trainer.on_train_epoch_start()
    losses = [float(trainer.train_step(seen)["loss"]) for _ in range(30)]
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("terms", [(), (AuxTerm("seg", 0.4),)])
def test_goes_with_networks_that_have_further_outputs(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, terms: tuple[AuxTerm, ...]
) -> None:
    class OnSlices(Paper003Recipe, SliceTrainer):
        network_name = "any"

    monkeypatch.setattr(slice_trainer, "auxiliary_terms", lambda name, options: terms)
    loss: nn.Module = make_trainer(OnSlices)._build_loss()
    if terms:
        assert isinstance(loss, AuxLoss)
        assert loss.terms == terms
        loss = loss.loss
    assert isinstance(loss, DiceLoss)
    assert OnSlices.recipe is Paper003Recipe.recipe
