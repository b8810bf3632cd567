"""A learning rate that follows the validation loss through nnU-Net's own epochs, checkpoints included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from nnunet_spine_ext.training.plateau import PlateauSchedule, PlateauTrainer, adam_with_plateau
from nnunet_spine_ext.training.trainer import SpineTrainer
from tests.training.tiny import MakeTrainer, log_of

FALLING = [1.0 / (1 + epoch) for epoch in range(40)]


class Plateau(PlateauTrainer):
    """Bears two epochs without improvement."""

    def configure_optimizers(self) -> tuple[Any, Any]:
        return adam_with_plateau(self.network.parameters(), learning_rate=1.0, weight_decay=0.0, patience=2)


def made(patience: int = 2) -> tuple[torch.optim.Optimizer, PlateauSchedule]:
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    return adam_with_plateau(parameters, learning_rate=1.0, weight_decay=0.0, patience=patience)


def rate(optimizer: torch.optim.Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])


def validated(loss: float) -> list[dict[str, Any]]:
    """What nnU-Net's validation steps return."""
    ones = np.ones(2, dtype=np.float32)
    return [{"loss": np.array(loss), "tp_hard": ones, "fp_hard": ones, "fn_hard": ones}]


def epochs(trainer: Any, losses: list[float]) -> list[float]:
    """Run nnU-Net's hooks of epochs that end with these losses; return the rate that each was trained with."""
    rates = []
    for loss in losses:
        trainer.on_train_epoch_start()
        rates.append(rate(trainer.optimizer))
        trainer.logger.log("train_losses", loss, trainer.current_epoch)
        trainer.on_validation_epoch_end(validated(loss))
        trainer.current_epoch += 1
    return rates


def test_rate_falls_after_the_epochs_that_are_borne() -> None:
    optimizer, schedule = made()
    rates = []
    for loss in [1.0, 0.9, 0.9, 0.95, 0.9, 0.8, 0.8, 0.8, 0.8]:
        schedule.observe(loss)
        rates.append(rate(optimizer))
    # Best 0.9 in epoch 1; epochs 2, 3, 4 are no better; 0.8 is; then three more are not.
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01])


def test_less_than_a_ten_thousandth_is_no_improvement() -> None:
    optimizer, schedule = made(patience=0)
    schedule.observe(1.0)
    schedule.observe(1 - 0.5e-4)
    assert rate(optimizer) == pytest.approx(0.1)


def test_a_loss_that_is_not_a_number_is_no_improvement() -> None:
    optimizer, schedule = made(patience=0)
    schedule.observe(1.0)
    schedule.observe(float("nan"))
    assert rate(optimizer) == pytest.approx(0.1)


def test_the_epoch_that_nnunet_passes_is_not_taken_for_a_loss(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Plateau)
    trainer.initialize()
    assert set(epochs(trainer, FALLING)) == {1.0}


def test_torchs_own_would_see_the_epoch_and_collapse(make_trainer: MakeTrainer) -> None:
    class Bare(SpineTrainer):
        def configure_optimizers(self) -> tuple[Any, Any]:
            optimizer = torch.optim.Adam(self.network.parameters(), lr=1.0)
            return optimizer, ReduceLROnPlateau(optimizer, patience=2)

    trainer = make_trainer(Bare)
    trainer.initialize()
    rates = epochs(trainer, FALLING)
    # Epoch 0 is the best "loss" that it ever sees: a tenth after every three, though the loss falls.
    assert rates[:7] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])
    assert rates[-1] < 1e-7


def test_the_loss_of_every_epoch_arrives(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Plateau)
    trainer.initialize()
    assert epochs(trainer, [1.0, 0.5, 0.6, 0.6, 0.6, 0.6]) == pytest.approx([1, 1, 1, 1, 1, 0.1])


LOSSES = [1.0, 0.5, 0.6, 0.6, 0.6, 0.55, 0.7, 0.7, 0.7]


@pytest.mark.parametrize("stopped", range(1, len(LOSSES)))
def test_a_continued_training_goes_on_exactly(make_trainer: MakeTrainer, stopped: int) -> None:
    whole = make_trainer(Plateau)
    whole.initialize()
    rates = epochs(whole, LOSSES)
    assert len(set(rates)) == 3  # it falls twice, so that every state is met on the way
    first = make_trainer(Plateau)
    first.initialize()
    epochs(first, LOSSES[:stopped])
    path = Path(first.output_folder) / "checkpoint_test.pth"
    first.current_epoch -= 1  # nnU-Net saves before it counts on
    first.save_checkpoint(str(path))
    second = make_trainer(Plateau)
    second.load_checkpoint(str(path))
    assert second.current_epoch == stopped
    assert epochs(second, LOSSES[stopped:]) == rates[stopped:]


def test_without_the_state_it_would_not() -> None:
    # The same continuation with a schedule that has forgotten: what the saved state is for.
    optimizer, schedule = made()
    for loss in LOSSES[:4]:
        schedule.observe(loss)
    _, forgetful = made()
    forgetful.observe(LOSSES[4])
    schedule.observe(LOSSES[4])
    assert rate(optimizer) == pytest.approx(0.1)
    assert rate(forgetful._plateau.optimizer) == 1


def test_a_checkpoint_without_state_is_told(make_trainer: MakeTrainer) -> None:
    class Stateless(SpineTrainer):
        configure_optimizers = Plateau.configure_optimizers

    other = make_trainer(Stateless)
    other.initialize()
    path = Path(other.output_folder) / "checkpoint_test.pth"
    other.save_checkpoint(str(path))
    trainer = make_trainer(Plateau)
    trainer.load_checkpoint(str(path))
    assert "says nothing about plateaus" in log_of(trainer)


def test_the_state_is_plain_numbers() -> None:
    _, schedule = made()
    schedule.observe(np.float32(0.5))  # type: ignore[arg-type]
    assert schedule.state_dict() == {"best": 0.5, "num_bad_epochs": 0, "last_epoch": 1}
    assert all(type(value) in (int, float) for value in schedule.state_dict().values())
