"""Res50_UNet: its size part by part, and pyramid and head against explicit formulas in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks import registry
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.res50_unet import (
    FeaturePyramid,
    PanopticHead,
    Res50UNet,
    Res50UNetOptions,
    paper_res50_unet,
)
from nnunet_spine_ext.networks.slices import SliceWise
from tests.networks.tiny import PLANS, SMALL, randomise

SMALL_ENCODER = {"encoder": "test_resnet"}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def small(**options: Any) -> Res50UNet:
    torch.manual_seed(0)
    return Res50UNet(input_channels=3, num_classes=2, patch_size=(48, 32), options={**SMALL_ENCODER, **options})


# ---- size --------------------------------------------------------------------------------------------------------


def test_the_papers_network_has_its_size_part_by_part() -> None:
    with torch.device("meta"):
        network = paper_res50_unet()
    # ResNeXt50-32x4d without classifier (22,979,904 for three channels), and four channels more in the 7x7 stem.
    assert count(network.encoder) == 22_979_904 + 64 * 4 * 49
    assert count(network.pyramid) == sum(64 * c + 64 for c in (64, 256, 512, 1024, 2048))
    # 1 + 1 + 2 + 3 + 4 units of 3x3 without bias and a norm's two vectors; the last convolution.
    assert count(network.head) == 11 * (64 * 64 * 9 + 2 * 64) + 64 + 1
    assert [len([m for m in b.modules() if isinstance(m, nn.Conv2d)]) for b in network.head.branches] == [1, 1, 2, 3, 4]


def test_the_encoder_is_a_resnext_with_32_groups_or_a_resnet() -> None:
    groups = {}
    for encoder in ("resnext50_32x4d", "resnet50"):
        with torch.device("meta"):
            network = paper_res50_unet(encoder=encoder)
        convs = [m for m in network.encoder.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
        groups[encoder] = {m.groups for m in convs}
        assert network.encoder.channels == (64, 256, 512, 1024, 2048)
    assert groups == {"resnext50_32x4d": {32}, "resnet50": {1}}


def test_the_row_sees_five_slices_and_two_maps_or_one_slice_alone() -> None:
    def first(slices: dict[str, Any], patch: tuple[int, ...]) -> int:
        words = {**SMALL.words(), "options": {**SMALL_ENCODER, **slices}}
        network = registry.build("res50-unet", words, input_channels=1, num_classes=2, patch_size=patch)
        assert isinstance(network, SliceWise)
        return next(m for m in network.modules() if isinstance(m, nn.Conv2d)).in_channels

    assert first({}, SMALL.patch) == 7
    assert first({"slices": {"neighbours": 0, "coordinates": False}}, SMALL.patch) == 1
    flat = {**PLANS["2d"].words(), "options": SMALL_ENCODER}
    network = registry.build("res50-unet", flat, input_channels=2, num_classes=2, patch_size=(48, 32))
    assert next(m for m in network.modules() if isinstance(m, nn.Conv2d)).in_channels == 4


# ---- pyramid and head --------------------------------------------------------------------------------------------


def doubled(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bilinear interpolation of the last two axes to twice the size: 3/4 of the nearer neighbour, 1/4 of the other."""
    for axis in (-2, -1):
        n = x.shape[axis]
        before = np.take(x, np.clip(np.arange(n) - 1, 0, None), axis)
        after = np.take(x, np.clip(np.arange(n) + 1, None, n - 1), axis)
        pairs = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=axis if axis == -1 else -2)
        x = pairs.reshape(*x.shape[:axis], 2 * n, *x.shape[axis:][1:])
    return x


def unit(x: np.ndarray[Any, Any], block: Any) -> np.ndarray[Any, Any]:
    """Convolution (torch's), GroupNorm with 32 groups and ReLU written out."""
    conv, norm = block[0], block[1]
    y = F.conv2d(torch.from_numpy(x), conv.weight, padding=1).detach().numpy()
    groups = y.reshape(y.shape[0], 32, -1)
    groups = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + norm.eps)
    scaled = groups.reshape(y.shape) * norm.weight.detach().numpy()[:, None, None]
    return np.maximum(scaled + norm.bias.detach().numpy()[:, None, None], 0)


def test_doubling_of_this_test_is_that_of_a_ramp() -> None:
    # Inside, a ramp stays a ramp of half the slope; at the ends the outer pixels repeat.
    ramp = np.arange(4.0)[None, None, None].repeat(2, axis=2)
    assert doubled(ramp)[0, 0, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    assert doubled(ramp.swapaxes(2, 3))[0, 0, :, 1].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]


def test_pyramid_adds_from_the_lowest_resolution_upwards() -> None:
    torch.manual_seed(1)
    channels, sizes = (3, 5, 4), (8, 4, 2)
    pyramid = FeaturePyramid(channels, 6).double()
    features = [torch.randn(2, c, n, n + 4 * n, dtype=torch.float64) for c, n in zip(channels, sizes, strict=True)]
    laterals = [
        np.einsum("oc,bchw->bohw", m.weight.detach()[..., 0, 0].numpy(), f.numpy())
        + m.bias.detach().numpy()[:, None, None]
        for m, f in zip(pyramid.laterals, features, strict=True)  # type: ignore[arg-type]
    ]
    expected = [laterals[2]]
    for lateral in (laterals[1], laterals[0]):
        expected.append(lateral + expected[-1].repeat(2, axis=2).repeat(2, axis=3))
    for level, wanted in zip(pyramid(features), expected[::-1], strict=True):
        np.testing.assert_allclose(level.detach().numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("levels", [1, 5])
def test_head_is_the_sum_of_its_branches_written_out(levels: int) -> None:
    torch.manual_seed(2)
    head = PanopticHead(32, 3, levels=levels).double()
    randomise(head)
    maps = [torch.randn(1, 32, 32 // 2**k, 64 // 2**k, dtype=torch.float64) for k in range(5)]
    total = np.zeros((1, 32, 32, 64))
    for k in range(levels):
        x = maps[k].numpy()
        blocks = [m for m in head.branches[k] if isinstance(m, nn.Sequential)]  # type: ignore[union-attr]
        assert len(blocks) == max(1, k)
        for block in blocks:
            x = unit(x, block)
            x = doubled(x) if k else x
        total += x
    last: Any = head.seg_layers[0]
    expected = np.einsum("oc,bchw->bohw", last.weight.detach()[..., 0, 0].numpy(), total)
    expected += last.bias.detach().numpy()[:, None, None]
    np.testing.assert_allclose(head(maps).detach().numpy(), expected, atol=1e-9)


def test_without_the_other_levels_the_head_reads_the_highest_alone() -> None:
    network, paper = small(all_levels=False), small()
    assert len(network.head.branches) == 1
    # The laterals stay, because the sums p_k run through them.
    assert count(network.pyramid) == count(paper.pyramid)


# ---- the whole network -------------------------------------------------------------------------------------------


def test_slices_of_any_size_are_padded_at_their_far_sides() -> None:
    network = small().eval()
    image = torch.randn(2, 3, 50, 41)
    padded = torch.zeros(2, 3, 64, 64)
    padded[:, :, :50, :41] = image
    torch.testing.assert_close(network(image), network(padded)[:, :, :50, :41])


def test_logits_follow_encoder_pyramid_and_head() -> None:
    network = small().eval()
    image = torch.randn(1, 3, 64, 32)
    half = network.head(network.pyramid(network.encoder(image)))
    assert half.shape == (1, 2, 32, 16)
    expected = doubled(half.detach().numpy())
    np.testing.assert_allclose(network(image).detach().numpy(), expected, atol=1e-5)


def test_the_papers_own_network_runs_and_learns() -> None:
    torch.manual_seed(0)
    network = paper_res50_unet()
    out: Tensor = network(torch.randn(1, 7, 64, 32))
    out.square().mean().backward()
    assert out.shape == (1, 1, 64, 32)
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": ""}, "encoder is ''"),
        ({"encoder": "no_such_net"}, "no_such_net"),
        ({"width": 0}, "width is 0"),
        ({"all_levels": 3}, "all_levels is 3"),
        ({"norm": "layer"}, "norm is 'layer'"),
        ({"stride": 16}, "no option stride"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkPlanError, match=message):
        Res50UNet(input_channels=1, num_classes=2, patch_size=(32, 32), options=options)


def test_options_of_a_plans_file_are_read_back() -> None:
    options = Res50UNetOptions(encoder="resnet50", all_levels=False)
    assert Res50UNetOptions.of(options.as_json()) == options
