"""Box pooling against loops over voxels."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from nnunet_spine_ext.networks.blocks.pooling import box_max, box_mean

SHAPES = [
    ((2, 4, 6, 5, 3), (7, 3, 3)),  # fewer slices than the window is thick
    ((1, 1, 4, 4, 2), (5, 3, 3)),
    ((1, 9, 5, 7, 2), (3, 3, 3)),
    ((1, 5, 6, 8, 2), (5, 5, 5)),
    ((1, 6, 5, 6, 2), (1, 3, 3)),
    ((1, 6, 5, 6, 2), (7, 1, 1)),
    ((2, 9, 7, 3), (7, 7)),
    ((1, 5, 6, 3), (3, 3)),
]


def by_loops(x: Tensor, window: tuple[int, ...], *, mean: bool) -> Tensor:
    """Reduce the part of the window that lies inside the image, voxel by voxel; x is (B, [D,] H, W, C)."""
    result = torch.empty_like(x)
    for position in product(*(range(n) for n in x.shape[1:-1])):
        inside = tuple(slice(max(p - w // 2, 0), p + w // 2 + 1) for p, w in zip(position, window, strict=True))
        box = x[(slice(None), *inside)].flatten(1, -2)
        result[(slice(None), *position)] = box.mean(1) if mean else box.amax(1)
    return result


@pytest.mark.parametrize(("shape", "window"), SHAPES)
@pytest.mark.parametrize("mean", [False, True], ids=["max", "mean"])
def test_equals_loops_in_values_and_gradients(shape: tuple[int, ...], window: tuple[int, ...], mean: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(shape, dtype=torch.float64)
    ours, loops = (box_mean if mean else box_max)(x, window), by_loops(x, window, mean=mean)
    torch.testing.assert_close(ours, loops)
    torch.testing.assert_close(
        torch.autograd.grad((ours * weights).sum(), x), torch.autograd.grad((loops * weights).sum(), x)
    )


def test_border_of_a_constant_image_is_neither_darker_nor_infinite() -> None:
    x = torch.full((1, 4, 5, 5, 1), -3.0)
    assert torch.equal(box_mean(x, (7, 3, 3)), x)
    assert torch.equal(box_max(x, (7, 3, 3)), x)
