"""Recomputation: the same values and gradients, dear operations once, cheap ones again."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nnunet_spine_ext.networks.blocks.recompute import has_state, recomputed_between_convolutions
from tests.networks.tiny import kept_bytes


class Calls(TorchDispatchMode):
    """Counts torch's operations; convolutions with the size of their kernel."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.name().removeprefix("aten::")
        self.found[f"{name} {args[1].shape[-1]}" if name == "convolution" else name] += 1
        return func(*args, **(kwargs or {}))


class Region(nn.Module):
    """Convolution, norm, nonlinearity, 1x1 convolution, transposed convolution, sum."""

    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.parts = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.LeakyReLU(inplace=True),
            nn.Conv2d(4, 2, 1), nn.InstanceNorm2d(2), nn.ConvTranspose2d(2, 2, 2, 2),
        )  # fmt: skip
        self.again = again

    def compute(self, x: Tensor) -> Tensor:
        return torch.tanh(self.parts(x)) + 1

    def forward(self, x: Tensor) -> Tensor:
        return recomputed_between_convolutions(self.compute, x, when=self.again)


def step(network: nn.Module, x: Tensor, run: Callable[..., Any] | None = None) -> list[Tensor]:
    """Output and all gradients of a step."""
    output = (network if run is None else run)(x)
    return [output.detach(), *torch.autograd.grad((output**2).sum(), [x, *network.parameters()])]


@pytest.fixture
def regions() -> tuple[Region, Region]:
    torch.manual_seed(0)
    kept = Region(again=False).double()
    again = copy.deepcopy(kept)
    again.again = True
    return kept, again


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 2, 8, 8, dtype=torch.float64, requires_grad=True)


def test_values_and_gradients_are_equal(regions: tuple[Region, Region], x: Tensor) -> None:
    for one, other in zip(*(step(region, x) for region in regions), strict=True):
        assert torch.equal(one, other)


def test_only_inputs_and_results_of_convolutions_are_kept(regions: tuple[Region, Region], x: Tensor) -> None:
    maps = (2 + 4 + 4 * 2) * 8 * 8  # the input, the 3x3 and the transposed convolution; not the 1x1
    assert kept_bytes(regions[1], x) == 2 * 8 * maps


def test_convolutions_run_once_and_the_rest_again(regions: tuple[Region, Region], x: Tensor) -> None:
    with Calls() as calls:
        step(regions[1], x)
    assert calls.found["convolution 3"] == calls.found["convolution 2"] == 1
    assert calls.found["convolution 1"] == calls.found["leaky_relu_"] == 2


def test_nothing_is_run_again_where_nothing_is_trained(regions: tuple[Region, Region], x: Tensor) -> None:
    with torch.no_grad(), Calls() as calls:
        regions[1](x)
    assert calls.found["convolution 3"] == calls.found["leaky_relu_"] == 1


def test_the_compiler_keeps_the_same(regions: tuple[Region, Region], x: Tensor) -> None:
    torch._dynamo.reset()
    kept, again = regions
    with_compiler = torch.compile(again, backend="aot_eager", fullgraph=True)
    for one, other in zip(step(kept, x), step(again, x, with_compiler), strict=True):
        torch.testing.assert_close(one, other)


def test_half_precision_is_that_of_the_first_run(x: Tensor, regions: tuple[Region, Region]) -> None:
    image = x.detach().float().requires_grad_()
    found = []
    for region in regions:
        region.float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = region(image)
        found.append(torch.autograd.grad(output.float().sum(), [image, *region.parameters()]))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("module", "state"),
    [(nn.InstanceNorm2d(2), False), (nn.BatchNorm2d(2), True), (nn.Dropout2d(0.1), True), (nn.Conv2d(1, 1, 1), False)],
)
def test_state_is_what_a_second_run_would_change_or_draw_again(module: nn.Module, state: bool) -> None:
    assert has_state(nn.Sequential(module)) is state
