"""Our replay of the backward pass against torch's own engine, with data: equal gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from nnunet_spine_ext.planning.backward import Backward, SavedTensors
from nnunet_spine_ext.planning.losses import nnunet_loss
from tests.planning.steps import hybrid, plain, real_step, residual


class Twice(torch.autograd.Function):
    """A function in Python with an output that gets no gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 2, x * 3

    @staticmethod
    def backward(ctx: Any, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return first * 2 + second * 3


class Tangle(nn.Module):
    """Shared weights, one map used by many, broadcasting, a Python function, recomputation, a mixed precision step."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.scale = nn.Parameter(torch.rand(3, 1, 1))
        self.unused = nn.Parameter(torch.rand(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.conv(x) * self.scale
        b, _ = Twice.apply(a)
        c = checkpoint(lambda t: torch.tanh(self.conv(t)), a, use_reentrant=False)
        total = a + a + b + c + c.double().exp().float() + torch.cat([a, c], 1)[:, 1:4]
        return total.max(2).values.sum() + total.mean()  # type: ignore[no-any-return]


def gradients_by_both(parameters: list[nn.Parameter], loss: Callable[[], torch.Tensor]) -> None:
    expected = torch.autograd.grad(loss(), parameters, allow_unused=True)
    with SavedTensors() as saved:
        scalar = loss()
    replay = Backward(scalar, saved=saved)
    replay.run()
    received = {id(leaf): gradient for leaf, gradient in replay.gradients}
    assert len(received) == len(replay.gradients)
    for parameter, gradient in zip(parameters, expected, strict=True):
        if gradient is None:
            assert id(parameter) not in received
        else:
            torch.testing.assert_close(received[id(parameter)], gradient)
            assert not received[id(parameter)].requires_grad


def test_gradients_of_a_tangled_graph_equal_those_of_the_engine() -> None:
    torch.manual_seed(0)
    network, x = Tangle(), torch.randn(2, 3, 6, 6)
    gradients_by_both(list(network.parameters()), lambda: network(x))


@pytest.mark.parametrize("build", [plain, residual, hybrid])
def test_gradients_of_a_training_step_equal_those_of_the_engine(build: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    loss = nnunet_loss(deep_supervision_outputs=3)
    step = real_step(build(thick_slices=True), patch=(6, 32, 32), batch=2, loss=loss)
    gradients_by_both(list(step.network.parameters()), lambda: loss(step.network(step.image), step.targets))


def test_saved_tensors_are_released_with_their_nodes() -> None:
    x = torch.randn(1000, requires_grad=True)
    sizes = []

    class Watch(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            sizes.append(len(saved.tensors()))
            return gradient

    with SavedTensors() as saved:
        a = Watch.apply(x.exp())
        b = Watch.apply(a.sin())
        loss = b.exp().sum()
        unused = b.sin()  # its node never runs, so it keeps what it saved
    assert len(saved.tensors()) == 4
    Backward(loss, saved=saved).run()
    assert sizes == [3, 2]
    assert len(saved.tensors()) == 1
    del unused
    assert not saved.tensors()
