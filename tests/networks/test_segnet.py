"""SpineSegNet: unpooling, the mirror image, the published sizes. Promises of all networks: test_contracts."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.segnet import SegNetOptions, SpineSegNet, paper_segnet
from tests.networks.tiny import PLANS, SMALL, TinyPlan

PLAN = PLANS["2d"]


def segnet(plan: TinyPlan = PLAN, *, options: Any = None, **changed: Any) -> Any:
    torch.manual_seed(0)
    network = SpineSegNet(input_channels=1, num_classes=3, options=options, **plan.words(**changed))
    network.apply(network.initialize)
    return network


def test_each_maximum_goes_back_to_where_it_was() -> None:
    network = segnet(n_conv_per_stage=1)
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    pooled, places = torch.nn.functional.max_pool2d(x, 2, 2, return_indices=True)
    found = network.decoder._unpooled(pooled, places, (2, 2))
    for b, c, i, j in product(range(2), range(3), range(4), range(3)):
        window = x[b, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        expected = torch.where(window == window.max(), window, 0)
        assert torch.equal(found[b, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2], expected)


def test_nearest_control_fills_the_window() -> None:
    network = segnet(options={"unpool": "nearest"})
    x = torch.randn(1, 2, 3, 4)
    found = network.decoder._unpooled(x, torch.zeros(0), (2, 3))
    assert torch.equal(found, x.repeat_interleave(2, 2).repeat_interleave(3, 3))
    network.load_state_dict(segnet().state_dict(), strict=True)


def test_decoder_is_the_mirror_image() -> None:
    network = segnet(n_conv_per_stage=[1, 2, 3, 2])

    def widths(part: nn.Module) -> list[tuple[int, int]]:
        return [(m.in_channels, m.out_channels) for m in part.modules() if isinstance(m, nn.Conv2d)]

    down = [widths(stage) for stage in network.encoder.stages]
    up = [widths(network.decoder.bottom), *(widths(stage) for stage in network.decoder.stages)]
    up[-1] += widths(network.decoder.seg_layers[-1])
    assert down == [[(1, 4)], [(4, 8), (8, 8)], [(8, 16), (16, 16), (16, 16)], [(16, 16), (16, 16)]]
    # Each convolution turned round, in reverse order; the image's channel becomes the classes.
    turned = [[(o, i) for i, o in reversed(stage)] for stage in reversed(down)]
    turned[-1][-1] = (4, 3)
    assert up == turned


def test_head_is_a_convolution_of_the_stages_kernel() -> None:
    assert segnet().decoder.seg_layers[-1].kernel_size == (3, 3)
    assert segnet().decoder.seg_layers[0].kernel_size == (1, 1)


@pytest.mark.parametrize("strides", [[[1, 1], [2, 2], [2, 1], [1, 2]], [[1, 1], [2, 2], [2, 2], [2, 1]]])
def test_strides_may_differ_between_axes(strides: list[list[int]]) -> None:
    network = segnet(strides=strides)
    network.decoder.deep_supervision = True
    assert network(PLAN.image())[0].shape == (1, 3, *PLAN.patch)


def test_3d_plans_are_refused() -> None:
    with pytest.raises(NetworkPlanError, match="SegNet takes 2D plans"):
        segnet(SMALL)


def test_a_patch_says_nothing_where_nothing_is_dilated() -> None:
    with pytest.raises(NetworkPlanError, match="patch_size has no effect"):
        SegNetOptions(patch_size=(48, 32))


def conv(inputs: int, outputs: int) -> int:
    """A 3x3 convolution with bias, and BatchNorm."""
    return 9 * inputs * outputs + 3 * outputs


@pytest.mark.parametrize(("levels", "classes"), [(5, 20), (4, 9), (4, 2)])
def test_published_size_adds_up(levels: Any, classes: int) -> None:
    widths, counts, expected, width = (64, 128, 256, 512, 512)[:levels], (2, 2, 3, 3, 3)[:levels], 0, 1
    for c, n in zip(widths, counts, strict=True):
        expected += conv(width, c) + (n - 1) * conv(c, c)
        width = c
    for i in range(levels - 1, 0, -1):
        expected += (counts[i] - 1) * conv(widths[i], widths[i]) + conv(widths[i], widths[i - 1])
    expected += conv(64, 64) + 9 * 64 * classes + classes
    with torch.device("meta"):
        network = paper_segnet(levels=levels, num_classes=classes)
    assert sum(p.numel() for p in network.parameters()) == expected
