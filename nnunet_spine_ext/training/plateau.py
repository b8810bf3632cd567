"""A learning rate that falls when the validation loss stops falling, inside nnU-Net's training.

nnU-Net calls `lr_scheduler.step(epoch)` at the start of every epoch. torch's own ReduceLROnPlateau would take that
number for its metric: it rises for ever, so the rate would collapse after a few epochs whatever the loss does. And
nnU-Net's checkpoints hold no state of a schedule, so a continued training would forget what it has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from nnunet_spine_ext.training.trainer import SpineTrainer

STATE_KEY = "nnunet_spine_ext_plateau"
"""Key in a checkpoint's `init_args` that holds the state of the schedule. nnU-Net reads only "configuration" there."""


class PlateauSchedule:
    """torch's ReduceLROnPlateau, told the loss by `observe`; `step`, which nnU-Net calls with the epoch, does nothing.

    Args:
        optimizer: whose rates fall.
        factor: of the rate, each time.
        patience: epochs without improvement that are borne; the next one lowers the rate.
        threshold: share of the best loss by which a loss must be lower to be an improvement.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, *, factor: float = 0.1, patience: int = 10, threshold: float = 1e-4
    ) -> None:
        self._plateau = ReduceLROnPlateau(optimizer, factor=factor, patience=patience, threshold=threshold)

    def step(self, epoch: int | None = None) -> None:
        """Do nothing: the epoch says nothing about the loss."""

    def observe(self, loss: float) -> None:
        """Take the loss of an epoch that has ended, and lower the rate if it is time."""
        self._plateau.step(float(loss))

    def state_dict(self) -> dict[str, Any]:
        """Return what has been seen (numbers only), for a checkpoint."""
        return {name: getattr(self._plateau, name) for name in ("best", "num_bad_epochs", "last_epoch")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`. The rates themselves are the optimizer's."""
        self._plateau.load_state_dict(dict(state))


def adam_with_plateau(
    parameters: Iterable[torch.nn.Parameter],
    *,
    learning_rate: float,
    weight_decay: float,
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
) -> tuple[torch.optim.Optimizer, PlateauSchedule]:
    """Return Adam and a `PlateauSchedule` of its learning rate; the defaults are torch's."""
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay)
    return optimizer, PlateauSchedule(optimizer, factor=factor, patience=patience, threshold=threshold)


class PlateauTrainer(SpineTrainer):
    """A trainer with a `PlateauSchedule` from `configure_optimizers`: tells it the loss, keeps it in checkpoints."""

    lr_scheduler: PlateauSchedule

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Log as nnU-Net does, then tell the schedule the loss: the mean over batches and, under DDP, processes."""
        super().on_validation_epoch_end(val_outputs)
        self.lr_scheduler.observe(self.logger.get_value("val_losses", step=-1))

    def save_checkpoint(self, filename: str) -> None:
        """Save with the state of the schedule."""
        self.my_init_kwargs[STATE_KEY] = self.lr_scheduler.state_dict()
        super().save_checkpoint(filename)

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load with the state of the schedule; tell if there is none (a checkpoint of another trainer)."""
        super().load_checkpoint(filename_or_checkpoint)
        state = self.my_init_kwargs.get(STATE_KEY)
        if state is None:
            self.print_to_log_file("NOTE: the checkpoint says nothing about plateaus; the schedule starts anew.")
        else:
            self.lr_scheduler.load_state_dict(state)
