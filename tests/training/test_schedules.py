from __future__ import annotations

import pytest
import torch

from nnunet_spine_ext.training.schedules import StepDecay, adam_with_step_decay


def rates(schedule: StepDecay, epochs: range) -> list[float]:
    found = []
    for epoch in epochs:
        schedule.step(epoch)
        found.append(schedule.optimizer.param_groups[0]["lr"])
    return found


def paper_schedule() -> StepDecay:
    _, schedule = adam_with_step_decay(
        [torch.nn.Parameter(torch.zeros(1))], learning_rate=1e-3, weight_decay=0, factor=0.9, every_epochs=10
    )
    assert isinstance(schedule, StepDecay)
    return schedule


def test_rate_is_constant_for_ten_epochs_then_a_tenth_lower() -> None:
    found = rates(paper_schedule(), range(31))
    assert found[:10] == [1e-3] * 10
    assert found[10:20] == pytest.approx([9e-4] * 10)
    assert found[20:30] == pytest.approx([8.1e-4] * 10)
    assert found[30] == pytest.approx(7.29e-4)


def test_agrees_with_torch_step_lr() -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    reference = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.9)
    expected = []
    for _ in range(200):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates(paper_schedule(), range(200)) == pytest.approx(expected)


def test_a_continued_training_needs_no_state() -> None:
    whole = rates(paper_schedule(), range(60))
    assert rates(paper_schedule(), range(45, 60)) == whole[45:]


def test_counts_epochs_itself_when_not_told() -> None:
    schedule = paper_schedule()
    for _ in range(10):
        schedule.step()
    assert schedule.last_epoch == 10
    assert schedule.get_last_lr() == pytest.approx([9e-4])


def test_each_parameter_group_decays_from_its_own_rate() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    StepDecay(optimizer, factor=0.5, every_epochs=2).step(4)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.25, 0.025])


def test_adam_has_the_rate_and_decay_asked_for() -> None:
    optimizer, _ = adam_with_step_decay(
        [torch.nn.Parameter(torch.zeros(1))], learning_rate=1e-3, weight_decay=1e-5, factor=0.9, every_epochs=10
    )
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["weight_decay"] == 1e-5


def test_zero_epochs_are_refused() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ValueError, match="every_epochs"):
        StepDecay(optimizer, factor=0.9, every_epochs=0)
