"""MFE against its definition: four branches on shares of the channels, concatenated and fused."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.mfe import MFE
from tests.networks.plain_convolution import plain_convolution
from tests.networks.tiny import CUBIC, FLAT, gradients, layers, randomise

Fuse = Literal["single", "full"]


def mfe(channels: int, kernel: Shape, fuse: Fuse = "single") -> MFE:
    torch.manual_seed(0)
    block = MFE(channels, kernel, layers=layers(FLAT if len(kernel) == 2 else CUBIC), fuse=fuse).double()
    randomise(block)
    return block


def literal(block: MFE, x: Tensor, kernel: Shape) -> Tensor:
    """The block as the text says it, on its parameters in their order: every convolution and the concatenation."""
    weights = dict(block.named_parameters())

    def conv(name: str, x: Tensor) -> Tensor:
        convolve = F.conv3d if x.dim() == 5 else F.conv2d
        return convolve(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding="same")

    pool = F.max_pool3d if x.dim() == 5 else F.max_pool2d
    inner = x if x.shape[1] >= 8 else conv("widen", x)
    c = inner.shape[1]
    a, b = c // 4, c // 4 + c // 8
    quarter, eighth, half, rest = inner[:, :a], inner[:, a:b], inner[:, b : b + c // 2], inner[:, b + c // 2 :]
    branches = [
        conv("last.0", quarter),
        conv("last.1", pool(eighth, kernel, stride=1, padding=[k // 2 for k in kernel])),
        conv("last.2", conv("before.2", half)),
        conv("last.3", conv("before.3.1", conv("before.3.0", rest))),
    ]
    return x + conv("fuse", torch.cat(branches, dim=1))


@pytest.mark.parametrize("fuse", ["single", "full"])
@pytest.mark.parametrize(
    ("channels", "kernel", "size"),
    [(16, (3, 3), (7, 6)), (13, (3, 3), (6, 7)), (4, (3, 3), (6, 6)), (8, (1, 3, 3), (3, 6, 5)),
     (8, (3, 3, 3), (4, 5, 6))],
    ids=["16", "13, a remainder", "4, raised to 8", "thick slices", "3d"],
)  # fmt: skip
def test_equals_the_concatenation_in_values_and_gradients(
    channels: int, kernel: Shape, size: tuple[int, ...], fuse: Fuse
) -> None:
    block = mfe(channels, kernel, fuse)
    x = torch.randn(2, channels, *size, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(block(x), literal(block, x, kernel))
    wanted = [x, *block.parameters()]
    for one, other in zip(gradients(block(x), wanted), gradients(literal(block, x, kernel), wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_equals_loops_over_voxels_and_taps() -> None:
    block = mfe(8, (3, 3))
    x = torch.randn(1, 8, 5, 4, dtype=torch.float64)
    image = x[0].numpy()
    padded = np.pad(image[2:3], ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    pooled = np.array([[[padded[0, i : i + 3, j : j + 3].max() for j in range(4)] for i in range(5)]])
    rest = plain_convolution(plain_convolution(image[7:], block.before[3][0]), block.before[3][1])
    branches = [
        plain_convolution(image[:2], block.last[0]),
        plain_convolution(pooled, block.last[1]),
        plain_convolution(plain_convolution(image[3:7], block.before[2]), block.last[2]),
        plain_convolution(rest, block.last[3]),
    ]
    expected = image + plain_convolution(np.concatenate(branches), block.fuse)
    np.testing.assert_allclose(block(x)[0].detach().numpy(), expected)


@pytest.mark.parametrize("channels", [8, 64])
def test_has_the_papers_size(channels: int) -> None:
    c = channels
    assert sum(p.numel() for p in mfe(c, (3, 3)).parameters()) == 2.875 * c**2 + 2.75 * c + 1
    # The text's fusion keeps all channels: c (c + 1) weights in place of c + 1.
    assert sum(p.numel() for p in mfe(c, (3, 3), "full").parameters()) == 2.875 * c**2 + 1.75 * c + c * (c + 1)


def test_single_fusion_adds_one_map_to_every_channel() -> None:
    x = torch.randn(1, 16, 6, 6, dtype=torch.float64)
    added = mfe(16, (3, 3))(x) - x
    torch.testing.assert_close(added, added[:, :1].expand_as(added))
    added = mfe(16, (3, 3), "full")(x) - x
    assert (added - added[:, :1]).abs().max() > 0.1
