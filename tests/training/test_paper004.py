"""Paper 004's recipe, on nnU-Net's own network."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nnunet_spine_ext.training.label_losses import CrossEntropyLoss
from nnunet_spine_ext.training.paper004 import Paper004Recipe
from nnunet_spine_ext.training.slice_trainer import SliceTrainer
from tests.training.tiny import MakeTrainer, log_of, make_dataset_json


class OnThePlansNetwork(Paper004Recipe):
    pass


@pytest.fixture
def trainer(make_trainer: MakeTrainer) -> Any:
    made = make_trainer(OnThePlansNetwork)
    made.initialize()
    return made


def test_numbers_are_those_of_the_text(trainer: Any) -> None:
    assert trainer.num_epochs == 50
    assert trainer.plan_batch_size == 2
    assert isinstance(trainer.loss, CrossEntropyLoss)
    assert type(trainer.optimizer) is torch.optim.SGD
    (group,) = trainer.optimizer.param_groups
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.01, 0, False, 0)
    assert not trainer.enable_deep_supervision


def test_rate_falls_by_a_hundredth_after_each_epoch(trainer: Any) -> None:
    rates = []
    for epoch in (0, 1, 2, 49):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01, 0.0099, 0.009801, 0.01 * 0.99**49])


def test_there_is_no_augmentation(trainer: Any) -> None:
    train, validation = trainer.get_dataloaders()
    (only,) = train.data_loader.transforms.transforms
    assert [type(t) for t in only.transforms] == [type(t) for t in validation.data_loader.transforms.transforms]
    assert trainer.inference_allowed_mirroring_axes is None
    assert "Mirroring: none" in log_of(trainer)


def test_two_steps_of_training_and_one_of_validation(trainer: Any) -> None:
    train, validation = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    losses = [float(trainer.train_step(next(train))["loss"]) for _ in range(2)]
    assert all(0 < loss < 10 for loss in losses)
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert 0 < float(trainer.validation_step(next(validation))["loss"]) < 10


@pytest.mark.parametrize(
    ("labels", "more", "regions", "ignore"),
    [
        ({"background": 0, "L5": 1, "L4": 2}, {}, False, None),
        ({"background": 0, "L5": 1, "L4": 2, "ignore": 3}, {}, False, 3),
        ({"background": 0, "spine": [1, 2], "L5": [1]}, {"regions_class_order": [2, 1]}, True, None),
    ],
)
def test_loss_knows_the_kind_of_labels(
    make_trainer: MakeTrainer, labels: dict[str, Any], more: dict[str, Any], regions: bool, ignore: int | None
) -> None:
    loss = make_trainer(OnThePlansNetwork, dataset=make_dataset_json(labels=labels, **more)).build_loss()
    assert (loss.regions, loss.ignore_label) == (regions, ignore)


def test_goes_with_networks_that_have_stages_of_their_own() -> None:
    class OnSlices(Paper004Recipe, SliceTrainer):
        network_name = "any"

    assert OnSlices.recipe is Paper004Recipe.recipe
    assert OnSlices._build_loss is SliceTrainer._build_loss
    assert OnSlices.build_loss is Paper004Recipe.build_loss
