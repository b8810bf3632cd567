"""Counts and tables that the benchmarks share."""

from __future__ import annotations

import pytest
import torch
from measuring import flops_of, in_turns, median_and_range, table
from torch import nn

CONVOLUTIONS = {
    # layer on 8 x 4 x 4 → multiplications and additions of its forward pass, by hand
    "dense": (nn.Conv2d(8, 8, 3, padding=1, bias=False), 2 * 16 * 9 * 8 * 8),
    "depthwise": (nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), 2 * 16 * 9 * 8),
    "transposed": (nn.ConvTranspose2d(8, 4, 2, 2, bias=False), 2 * 16 * 4 * 8 * 4),
}


@pytest.mark.parametrize(("layer", "forward"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_step_of_a_convolution_costs_three_times_its_forward_pass(layer: nn.Module, forward: int) -> None:
    x = torch.randn(1, 8, 4, 4, requires_grad=True)
    assert flops_of(lambda: layer(x).sum().backward()) == 3 * forward


def test_the_image_needs_no_gradient() -> None:
    layer, forward = CONVOLUTIONS["dense"]
    assert flops_of(lambda: layer(torch.randn(1, 8, 4, 4)).sum().backward()) == 2 * forward


def test_ways_take_turns() -> None:
    calls: list[str] = []
    seconds = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, warm_up=1)
    assert calls == ["a", "b"] * 3
    assert [len(values) for values in seconds.values()] == [2, 2]


def test_middle_and_range_of_seconds() -> None:
    assert median_and_range([3.0, 1.0, 2.0]) == "2.000 (1.000 to 3.000)"


def test_table_is_markdown() -> None:
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
