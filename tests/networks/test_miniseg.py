"""SpineMiniSeg: its blocks against explicit formulas, how it reads a plan. Promises of all networks: test_contracts."""

from __future__ import annotations

import json
from itertools import pairwise, product
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from nnunet_spine_ext.networks.blocks.miniseg import Fusion, PyramidBlock, Reach, Stage, mean_pool
from nnunet_spine_ext.networks.miniseg import SpineMiniSeg, paper_miniseg
from nnunet_spine_ext.networks.miniseg_options import PAPER_OPTIONS, MiniSegOptions
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from tests.networks.tiny import FLAT, PLANS, SMALL, TinyPlan, gradients, layers, randomise, thick

DILATIONS = ((1, 1), (2, 2), (4, 4), (8, 8))
REACH = Reach(small=(3, 3), wide=(5, 5), dilations=DILATIONS)


def miniseg(plan: TinyPlan = SMALL, *, deep_supervision: bool = False, options: Any = None, **changed: Any) -> Any:
    torch.manual_seed(0)
    network = SpineMiniSeg(
        input_channels=1, num_classes=3, deep_supervision=deep_supervision, options=options, **plan.words(**changed)
    )
    network.apply(network.initialize)
    return network


# ---- blocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "window", "stride"),
    [
        ((5, 6), (3, 3), (1, 1)),
        ((6, 4), (3, 3), (2, 2)),
        ((4, 6, 8), (3, 3, 3), (2, 2, 2)),
        ((3, 6, 8), (1, 3, 3), (1, 2, 2)),
        ((1, 4, 4), (3, 3, 3), (1, 2, 2)),
        ((2, 4, 4), (3, 1, 1), (1, 1, 1)),
        ((6, 4, 3), (3, 3, 1), (2, 2, 1)),
    ],
)
def test_mean_pooling_is_the_mean_of_the_voxels_that_there_are(
    size: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    x = torch.randn(1, 2, *size, dtype=torch.float64)
    found = mean_pool(x, window, stride)
    assert found.shape[2:] == tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
    for index in product(*(range(n) for n in found.shape[2:])):
        box = tuple(
            slice(max(0, i * s - w // 2), i * s + w // 2 + 1) for i, s, w in zip(index, stride, window, strict=True)
        )
        expected = x[(slice(None), slice(None), *box)].flatten(2).mean(2)
        torch.testing.assert_close(found[(slice(None), slice(None), *index)], expected)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
@pytest.mark.parametrize("attention", [True, False])
def test_pyramid_block_by_its_formula(stride: tuple[int, int], attention: bool) -> None:
    reach = Reach(small=(3, 3), wide=(5, 5), dilations=DILATIONS, attention=attention)
    block = PyramidBlock(6, 8, reach=reach, layers=layers(FLAT), stride=stride).double()
    randomise(block)
    x = torch.randn(2, 6, 16, 12, dtype=torch.float64, requires_grad=True)
    narrow = torch.einsum("oi,bihw->bohw", block.narrow.weight[:, :, 0, 0], x)
    y = mean_pool(narrow, (3, 3), stride)
    parts = []
    for k, (d, _) in enumerate(DILATIONS):
        conv: Any = block.convs[k]
        y = y + F.conv2d(narrow, conv.weight, None, stride, d, d, groups=2)
        weighed = y
        if attention:
            assert block.attention is not None
            weight: Any = block.attention.weight
            logit = (weight[k, :, 0, 0].view(1, 2, 1, 1) * y).sum(1, keepdim=True)
            weighed = y * (1 + torch.sigmoid(logit))
        mix: Any = block.mix
        part = torch.einsum("oi,bihw->bohw", mix.weight[2 * k : 2 * k + 2, :, 0, 0], weighed)
        parts.append(part + mix.bias[2 * k : 2 * k + 2].view(1, 2, 1, 1))
    expected = block.finish(torch.cat(parts, dim=1))
    found = block(x)
    torch.testing.assert_close(found, expected)
    inputs = [x, *block.parameters()]
    for one, other in zip(gradients(found, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("repeats", [1, 2, 3, 8])
def test_stage_adds_up_two_paths(repeats: int) -> None:
    stage = Stage(
        4, 8, block=PyramidBlock, repeats=repeats, reach=REACH, strided_reach=REACH, layers=layers(FLAT), stride=(2, 2)
    ).double()
    wide, narrow = torch.randn(2, 1, 4, 20, 20, dtype=torch.float64)
    found = stage(wide, narrow)
    long, short = stage.first_wide(wide), stage.first_narrow(narrow)
    total = short + long
    for j in range(repeats):
        short = stage.narrow[j](total) + short
        if j < repeats // 2:
            long = stage.wide[j](total) + long
        total = short + long
    torch.testing.assert_close(found[0], long)
    torch.testing.assert_close(found[1], short)


def test_fusion_sums_a_near_and_a_far_convolution() -> None:
    block = Fusion(6, 4, reach=REACH, layers=layers(FLAT, conv_bias=False)).double()
    x = torch.randn(1, 6, 9, 9, dtype=torch.float64)
    narrow = block.narrow(x)
    near: Any = block.near
    far: Any = block.far
    expected = F.conv2d(narrow, near.weight, None, 1, 1, 1, groups=4)
    expected = expected + F.conv2d(narrow, far.weight, None, 1, 2, 2, groups=4)
    torch.testing.assert_close(block(x), block.norm(expected))


# ---- how it reads a plan -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stages", "widths", "repeats"),
    [(2, [8], [2]), (4, [8, 24, 32], [2, 3, 8]), (5, [8, 24, 32, 64], [2, 3, 8, 6]),
     (7, [8, 24, 32, 64, 64, 64], [2, 3, 8, 6, 6, 6])],
)  # fmt: skip
def test_plan_with_fewer_or_more_than_four_strided_stages(stages: int, widths: list[int], repeats: list[int]) -> None:
    plan = thick(3, 128, 128, stages=stages)
    with torch.device("meta"):
        network = miniseg(plan, deep_supervision=True, features_per_stage=4)
        outputs = network(plan.image())
    assert [len(stage.narrow) for stage in network.encoder.stages] == repeats
    assert [head.in_channels for head in network.decoder.seg_layers] == widths[::-1]
    assert [tuple(o.shape[2:]) for o in outputs] == [(3, 128 // 2**i, 128 // 2**i) for i in range(stages - 1)]


def test_kernels_cover_the_axes_of_the_plan() -> None:
    # Stage 1 has [1, 3, 3] in the plan, stage 2 [3, 3, 3]; where a stage strides, at least 3.
    first, second = miniseg(SMALL).encoder.stages
    assert first.wide[0][1].kernel_size == (1, 5, 5)
    assert first.narrow[0][0].kernel_size == (1, 3, 3)
    assert second.wide[0][1].kernel_size == (5, 5, 5)
    assert [conv.dilation for conv in second.narrow[0].convs] == [(1, d, d) for d in (1, 2, 4, 8)]
    halved = miniseg(PLANS["halved through the plane"], kernel_sizes=[[1, 3, 3]] * 4).encoder.stages[1]
    assert halved.first_wide[1].kernel_size == (3, 5, 5)
    assert halved.first_narrow.convs[0].kernel_size == (3, 3, 3)
    assert halved.wide[0][1].kernel_size == (1, 5, 5)


def test_dilations_are_cut_where_a_known_map_is_small() -> None:
    network = miniseg(thick(5, 64, 32, stages=4), options={"patch_size": (5, 64, 32)})
    block = network.encoder.stages[2].narrow[0]
    assert [conv.dilation for conv in block.convs] == [(1, 1, 1), (1, 2, 1), (1, 3, 1), (1, 3, 1)]


def test_through_plane_axis_may_be_any() -> None:
    plan = PLANS["through-plane axis last"]
    network = miniseg(plan)
    assert network.encoder.stages[1].narrow[0].convs[2].dilation == (4, 4, 1)
    assert network(plan.image()).shape == (1, 3, *plan.patch)


def test_every_slice_reaches_the_bottom_where_slices_are_halved() -> None:
    plan = PLANS["halved through the plane"]
    network = miniseg(plan, norm_op=None, kernel_sizes=[[1, 3, 3]] * 4)
    image = plan.image().requires_grad_()
    (gradient,) = gradients(network.encoder(image)[-1], [image])
    assert (gradient.abs().amax(dim=(0, 1, 3, 4)) > 0).all()


def test_attention_and_dilation_can_be_switched_off() -> None:
    plain, full = miniseg(options={"attention": False}), miniseg()
    left = {key for key in full.state_dict() if ".attention." not in key}
    assert set(plain.state_dict()) == left < set(full.state_dict())
    undilated = miniseg(options={"dilations": [1, 1, 1, 1]})
    undilated.load_state_dict(full.state_dict(), strict=True)
    assert {c.dilation for c in undilated.encoder.modules() if isinstance(c, nn.Conv3d)} == {(1, 1, 1)}


def test_authors_further_outputs_have_full_size() -> None:
    network = miniseg(deep_supervision=True, options={"aux_size": "full"}).eval()
    image = SMALL.image()
    outputs = network(image)
    assert [o.shape for o in outputs] == [(1, 3, *SMALL.patch)] * 2
    network.decoder.deep_supervision = False
    torch.testing.assert_close(network(image), outputs[0])


def test_options_survive_a_plans_file() -> None:
    options = MiniSegOptions(dilations=(1, 2, 3, 4), attention=False, patch_size=(5, 16, 16))
    assert MiniSegOptions.of(json.loads(json.dumps(options.as_json()))) == options
    assert MiniSegOptions.of(PAPER_OPTIONS.as_json()) == PAPER_OPTIONS


@pytest.mark.parametrize(
    "options",
    [
        {"dilations": [1, 2]},
        {"head_dropout": 1.5},
        {"activation": "relu"},
        {"aux_size": "full", "heads": "full"},
    ],
)
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(NetworkPlanError, match=next(iter(options))):
        MiniSegOptions.of(options)


# ---- the published size, term by term ----------------------------------------------------------------------------

WIDTHS, REPEATS = (8, 24, 32, 64), (2, 3, 8, 6)
FINISH = 3
"""BatchNorm's two and PReLU's one, for each channel."""


def published(classes: int, *, aux: bool) -> int:
    def wide(inputs: int, outputs: int) -> int:
        return inputs * outputs + 25 * outputs + FINISH * outputs

    def narrow(inputs: int, outputs: int, first: bool) -> int:
        if first:
            return 9 * inputs * outputs + FINISH * outputs
        quarter = outputs // 4
        return inputs * quarter + 4 * 9 * quarter + outputs + 4 * quarter * quarter + FINISH * outputs

    total, width = 0, 1
    for stage, (c, n) in enumerate(zip(WIDTHS, REPEATS, strict=True)):
        first = stage == 0
        total += wide(width, c) + narrow(width, c, first) + n * narrow(c, c, first) + n // 2 * wide(c, c)
        total += 0 if stage == 3 else 4 * c * c + 2 * 2 * c  # between two stages
        total += c * c + c + 2 * c + c  # lateral with bias, norm, PReLU
        total += c * classes + classes if aux or first else 0
        width = c
    for c, below in pairwise(WIDTHS):
        total += below * c + 2 * 9 * c + 2 * c
    return total


@pytest.mark.parametrize(("classes", "aux", "size"), [(20, False, 82_668), (20, True, 85_128), (2, True, None)])
def test_published_size_adds_up(classes: int, aux: bool, size: int | None) -> None:
    with torch.device("meta"):
        network = paper_miniseg(aux=aux, num_classes=classes)
    assert sum(p.numel() for p in network.parameters()) == published(classes, aux=aux)
    assert size is None or published(classes, aux=aux) == size
