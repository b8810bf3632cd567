"""CIE against its definition: three dilated convolutions, their concatenation, a 1x1 convolution, a sum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.cie import CIE
from tests.networks.plain_convolution import plain_convolution
from tests.networks.tiny import CUBIC, FLAT, gradients, kept_bytes, layers, randomise

CASES = {"2d": ((3, 3), (2, 3, 13, 9)), "thick": ((1, 3, 3), (1, 3, 4, 13, 9)), "3d": ((3, 3, 3), (1, 3, 5, 9, 13))}
every_case = pytest.mark.parametrize(("kernel", "shape"), CASES.values(), ids=CASES)


def cie(channels: int, kernel: Shape) -> CIE:
    torch.manual_seed(0)
    block = CIE(channels, kernel, layers=layers(FLAT if len(kernel) == 2 else CUBIC)).double()
    randomise(block)
    return block


def literal(block: CIE, x: Tensor, kernel: Shape) -> Tensor:
    convolve = F.conv3d if x.dim() == 5 else F.conv2d
    maps = []
    for conv, rate in zip(block.dilated, (2, 6, 10), strict=True):
        dilation = [rate if k == 3 else 1 for k in kernel]
        maps.append(convolve(x, conv.weight, conv.bias, padding="same", dilation=dilation))
    return x + convolve(torch.cat(maps, dim=1), block.mix.weight, block.mix.bias)


@every_case
def test_equals_the_concatenation_in_values_and_gradients(kernel: Shape, shape: tuple[int, ...]) -> None:
    block = cie(3, kernel)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(block(x), literal(block, x, kernel))
    wanted = [x, *block.parameters()]
    for one, other in zip(gradients(block(x), wanted), gradients(literal(block, x, kernel), wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_equals_loops_over_voxels_and_taps() -> None:
    block = cie(2, (3, 3))
    x = torch.randn(1, 2, 13, 7, dtype=torch.float64)
    maps = np.concatenate([plain_convolution(x[0].numpy(), conv) for conv in block.dilated])
    expected = x[0].numpy() + plain_convolution(maps, block.mix)
    np.testing.assert_allclose(block(x)[0].detach().numpy(), expected)


@pytest.mark.parametrize("channels", [3, 64])
def test_has_the_papers_size(channels: int) -> None:
    assert sum(p.numel() for p in cie(channels, (3, 3)).parameters()) == 30 * channels**2 + 4 * channels


def test_sees_ten_voxels_far_in_the_plane_and_no_other_slice() -> None:
    block = cie(2, (1, 3, 3))
    x = torch.zeros(1, 2, 3, 25, 25, dtype=torch.float64)
    changed = x.clone()
    changed[:, :, 1, 12, 12] = 1
    where = (block(changed) != block(x))[0].any(dim=0)
    assert where[[0, 2]].sum() == 0
    reached = {abs(int(i) - 12) for i in where[1].nonzero()[:, 0]}
    assert reached == {0, 2, 6, 10}


def test_keeps_its_input_alone() -> None:
    block = CIE(4, (3, 3), layers=layers(FLAT))
    x = torch.randn(1, 4, 96, 96, requires_grad=True)
    # Not the concatenation of three maps besides.
    assert kept_bytes(block, x) < 1.2 * x.numel() * x.element_size()


def test_weights_are_mixed_in_full_precision_under_autocast() -> None:
    block = cie(16, (3, 3)).float()
    x = torch.randn(1, 16, 8, 8)
    seen: list[torch.dtype] = []
    conv2d = F.conv2d
    with pytest.MonkeyPatch.context() as patch, torch.autocast("cpu", dtype=torch.bfloat16):
        patch.setattr(F, "conv2d", lambda x, w, *rest: (seen.append(w.dtype), conv2d(x, w, *rest))[1])
        assert block(x).isfinite().all()
    assert seen == [torch.float32] * 3
