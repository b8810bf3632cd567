"""AdamW's schedule: a warm-up, then nnU-Net's polynomial fall."""

from __future__ import annotations

import pytest
import torch

from nnunet_spine_ext.training.adamw import WarmUpPoly, adamw_with_warm_up


def rate_of(epoch: int, *, epochs: int = 1000) -> float:
    """The rate that a trainer has in an epoch it goes straight to, as after --c."""
    layer = torch.nn.Linear(2, 2)
    optimizer, schedule = adamw_with_warm_up(layer.parameters(), learning_rate=3e-4, weight_decay=0.05, epochs=epochs)
    schedule.step(epoch)
    return float(optimizer.param_groups[0]["lr"])


def test_optimizer_is_that_of_nnunets_transformer() -> None:
    optimizer, _ = adamw_with_warm_up(
        torch.nn.Linear(2, 2).parameters(), learning_rate=3e-4, weight_decay=0.05, epochs=10
    )
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.defaults["betas"] == (0.9, 0.98)
    assert optimizer.defaults["weight_decay"] == 0.05


def test_rate_rises_for_a_twentieth_of_the_epochs_then_falls() -> None:
    found = [rate_of(epoch) for epoch in (0, 24, 49, 50, 525, 999)]
    # 950 epochs of fall: at 525 half of them are over.
    expected = [3e-4 / 50, 1.5e-4, 3e-4, 3e-4, 3e-4 * 0.5**0.9, 3e-4 * (1 / 950) ** 0.9]
    assert found == pytest.approx(expected)


def test_rate_depends_on_the_epoch_alone() -> None:
    layer = torch.nn.Linear(2, 2)
    optimizer, schedule = adamw_with_warm_up(layer.parameters(), learning_rate=3e-4, weight_decay=0.05, epochs=100)
    for epoch in range(60):
        schedule.step(epoch)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rate_of(59, epochs=100))


@pytest.mark.parametrize("epochs", [1, 5])
def test_a_short_training_has_no_warm_up(epochs: int) -> None:
    assert rate_of(0, epochs=epochs) == pytest.approx(3e-4)


def test_a_warm_up_as_long_as_the_training_is_an_error() -> None:
    optimizer = torch.optim.AdamW(torch.nn.Linear(2, 2).parameters(), lr=1e-3)
    with pytest.raises(ValueError, match="a warm-up of 5 epochs does not fit into a training of 5"):
        WarmUpPoly(optimizer, epochs=5, warm_up=5)
