"""AdamW with a warm-up: what transformers are usually trained with.

nnU-Net's own transformer (Primus) is trained with AdamW, betas 0.9 and 0.98, weight decay 0.05 and a linear warm-up
over the first twentieth of the epochs; so are ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from nnunet_spine_ext.training.schedules import EpochSchedule
from nnunet_spine_ext.training.trainer import SpineTrainer

BETAS = (0.9, 0.98)
WARM_UP_SHARE = 0.05
"""Of all epochs: 50 of nnU-Net's 1000."""
EXPONENT = 0.9
"""Of the fall after the warm-up; nnU-Net's own."""


class WarmUpPoly(EpochSchedule):
    """The rate rises linearly to the optimizer's own, then falls as (1 - progress)^0.9. It depends on the epoch alone.

    Epoch e of w epochs of warm-up has (e + 1) / w of the rate; a later one of n epochs (1 - (e - w) / (n - w))^0.9.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, epochs: int, warm_up: int) -> None:
        if not 0 <= warm_up < epochs:
            raise ValueError(f"a warm-up of {warm_up} epochs does not fit into a training of {epochs}")
        self.epochs = epochs
        self.warm_up = warm_up
        super().__init__(optimizer)

    def factor_of(self, epoch: int) -> float:
        """Return the share of the optimizer's own rate that `epoch` has."""
        if epoch < self.warm_up:
            return (epoch + 1) / self.warm_up
        progress = (epoch - self.warm_up) / (self.epochs - self.warm_up)
        return float(max(1.0 - progress, 0.0) ** EXPONENT)


def adamw_with_warm_up(
    parameters: Iterable[torch.nn.Parameter], *, learning_rate: float, weight_decay: float, epochs: int
) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """Return AdamW and a `WarmUpPoly` of its rate over `epochs`."""
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, betas=BETAS)
    return optimizer, WarmUpPoly(optimizer, epochs=epochs, warm_up=int(epochs * WARM_UP_SHARE))


class AdamWTrainer(SpineTrainer):
    """A trainer with AdamW and its warm-up; the recipe names rate and weight decay."""

    def configure_optimizers(self) -> tuple[Any, Any]:
        """Return AdamW and its schedule."""
        return adamw_with_warm_up(
            self.network.parameters(),
            learning_rate=self.initial_lr,
            weight_decay=self.weight_decay,
            epochs=self.num_epochs,
        )
