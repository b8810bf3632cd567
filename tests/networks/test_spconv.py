"""SPConv against its definition, written in numpy and with torch's own functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.layers import GroupNorm1
from nnunet_spine_ext.networks.blocks.spconv import SPConv
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from tests.networks.plain_convolution import plain_convolution
from tests.networks.tiny import CUBIC, FLAT, gradients, kept_bytes, layers, randomise

BATCH_NORM: dict[str, Any] = {"norm_op": nn.BatchNorm2d}


def spconv(inputs: int, outputs: int, kernel: Shape = (3, 3), *, recompute: bool = True, **changed: Any) -> SPConv:
    torch.manual_seed(0)
    plan = layers(FLAT if len(kernel) == 2 else CUBIC, **changed)
    block = SPConv(inputs, outputs, kernel, layers=plan, recompute=recompute).double()
    randomise(block)
    return block


def literal(block: SPConv, x: Tensor) -> Tensor:
    """As published: two results, pooled, stacked, softmax over the two, weighted sum."""
    convolve = F.conv3d if x.dim() == 5 else F.conv2d
    half = x.shape[1] // 2
    wide = convolve(x[:, :half], block.grouped.weight, padding="same", groups=2)
    wide = wide + convolve(x[:, :half], block.pointwise.weight)
    narrow = convolve(x[:, half:], block.redundant.weight, block.redundant.bias)
    a, b = block.norms[0](wide), block.norms[1](narrow)
    space = tuple(range(2, x.dim()))
    weights = torch.softmax(torch.stack((a.mean(space, keepdim=True), b.mean(space, keepdim=True))), dim=0)
    return weights[0] * a + weights[1] * b


@pytest.mark.parametrize("recompute", [True, False], ids=["recomputed", "kept"])
@pytest.mark.parametrize(
    ("kernel", "size", "changed"),
    [((3, 3), (6, 5), {}), ((3, 3), (6, 5), BATCH_NORM), ((1, 3, 3), (3, 6, 5), {}), ((3, 3, 3), (3, 4, 5), {}),
     ((3, 3), (6, 5), {"norm_op": None})],
    ids=["2d", "batch norm", "thick", "3d", "no norm"],
)  # fmt: skip
def test_equals_the_published_sequence_in_values_and_gradients(
    kernel: Shape, size: tuple[int, ...], changed: dict[str, Any], recompute: bool
) -> None:
    block = spconv(8, 6, kernel, recompute=recompute, **changed)
    x = torch.randn(2, 8, *size, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(block(x), literal(block, x))
    wanted = [x, *block.parameters()]
    for one, other in zip(gradients(block(x), wanted), gradients(literal(block, x), wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_equals_loops_over_voxels_and_taps() -> None:
    block = spconv(4, 6, **BATCH_NORM)
    for norm in block.norms:
        norm.running_mean.copy_(torch.randn(6))
        norm.running_var.copy_(torch.rand(6) + 0.5)
    block.eval()
    x = torch.randn(1, 4, 5, 4, dtype=torch.float64)

    def normed(y: np.ndarray, norm: nn.BatchNorm2d) -> np.ndarray:
        mean, var, gain, shift = (
            v.detach().numpy().reshape(-1, 1, 1) for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        return (y - mean) / np.sqrt(var + 1e-5) * gain + shift

    image = x[0].numpy()
    wide = plain_convolution(image[:2], block.grouped) + plain_convolution(image[:2], block.pointwise)
    a, b = normed(wide, block.norms[0]), normed(plain_convolution(image[2:], block.redundant), block.norms[1])
    ea, eb = np.exp(a.mean(axis=(1, 2), keepdims=True)), np.exp(b.mean(axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(block(x)[0].detach().numpy(), (ea * a + eb * b) / (ea + eb))


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 64), (128, 64)])
def test_has_the_published_size(inputs: int, outputs: int) -> None:
    block = spconv(inputs, outputs, conv_bias=True, **BATCH_NORM)
    assert sum(p.numel() for p in block.parameters()) == 3.25 * inputs * outputs + 5 * outputs


def test_weights_of_the_fusion_depend_on_the_image_where_the_plan_has_instance_norm() -> None:
    # After an InstanceNorm every map's mean is that norm's bias, and the fusion would be the same for all images.
    block = spconv(8, 6)
    assert all(isinstance(norm, GroupNorm1) for norm in block.norms)
    images = torch.randn(2, 8, 9, 9, dtype=torch.float64)
    images[1] += torch.arange(8).view(-1, 1, 1)

    def fusion(block: SPConv) -> Tensor:
        found: list[Tensor] = []
        for norm in block.norms:
            norm.register_forward_hook(lambda _m, _i, out: found.append(out.mean((2, 3))))
        block(images)
        return torch.sigmoid(found[0] - found[1])

    weights = fusion(block.eval())
    assert (weights[0] - weights[1]).abs().max() > 0.01
    block.norms = nn.ModuleList(nn.InstanceNorm2d(6, affine=True).double() for _ in range(2))
    weights = fusion(block)
    torch.testing.assert_close(weights[0], weights[1])


def test_recomputing_keeps_less_and_never_touches_running_statistics() -> None:
    x = torch.randn(1, 8, 64, 64, dtype=torch.float64, requires_grad=True)
    assert kept_bytes(spconv(8, 8), x) < 0.7 * kept_bytes(spconv(8, 8, recompute=False), x)
    block = spconv(8, 8, **BATCH_NORM)
    block(x).sum().backward()
    assert [int(norm.num_batches_tracked) for norm in block.norms] == [1, 1]


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 8), (6, 8), (1, 8), (8, 7)])
def test_widths_that_do_not_split_are_refused(inputs: int, outputs: int) -> None:
    with pytest.raises(NetworkPlanError, match=f"from {inputs} to {outputs} channels: .* multiples of 4"):
        spconv(inputs, outputs)
