"""Learning rate schedules that depend on the epoch alone, so that a continued training needs no saved state."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.optim.lr_scheduler import LRScheduler


class EpochSchedule(LRScheduler):
    """The optimizer's own rate times a factor of the epoch.

    nnU-Net calls `step(epoch)` at the start of each epoch, the first being 0.
    """

    def factor_of(self, epoch: int) -> float:
        """Return the factor of `epoch`."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Set the rate of `epoch`; without it, of the epoch after the last one."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        rates = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = rates

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return the rate of the current epoch for each parameter group."""
        factor = self.factor_of(self.last_epoch)
        return [rate * factor for rate in self.base_lrs]


class StepDecay(EpochSchedule):
    """The learning rate times `factor` after every `every_epochs` epochs: initial · factor^⌊epoch / every_epochs⌋."""

    def __init__(self, optimizer: torch.optim.Optimizer, *, factor: float, every_epochs: int) -> None:
        if every_epochs < 1:
            raise ValueError(f"every_epochs must be at least 1, got {every_epochs}")
        self.factor = factor
        self.every_epochs = every_epochs
        super().__init__(optimizer)

    def factor_of(self, epoch: int) -> float:
        """Return factor^⌊epoch / every_epochs⌋."""
        return float(self.factor ** (epoch // self.every_epochs))


def adam_with_step_decay(
    parameters: Iterable[torch.nn.Parameter],
    *,
    learning_rate: float,
    weight_decay: float,
    factor: float,
    every_epochs: int,
) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """Return Adam and a `StepDecay` of its learning rate."""
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay)
    return optimizer, StepDecay(optimizer, factor=factor, every_epochs=every_epochs)
