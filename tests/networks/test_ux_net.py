"""3D UX-Net against its structure, written out; the UX block itself: test_ux."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_spine_ext.networks.blocks.channel_norm import ChannelNorm
from nnunet_spine_ext.networks.blocks.residual_pair import ResidualPair
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.ux_net import PlanUXBlock, SpineUXNet, UXNetOptions, paper_ux_net
from tests.networks.test_ux import literal_ux
from tests.networks.tiny import CUBIC, FLAT, PLANS, SMALL, TinyPlan, gradients, kept_bytes, layers, randomise, thick


def ux_net(plan: TinyPlan = SMALL, *, deep_supervision: bool = False, **changed: Any) -> SpineUXNet:
    torch.manual_seed(0)
    options = changed.pop("options", None)
    network = SpineUXNet(
        input_channels=1, num_classes=3, deep_supervision=deep_supervision, options=options, **plan.words(**changed)
    )
    network.apply(network.initialize)
    return network


def literal_norm(norm: ChannelNorm, x: Tensor) -> Tensor:
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    ones = (1,) * (x.dim() - 2)
    return (x - mean) / (variance + 1e-6).sqrt() * norm.weight.view(-1, *ones) + norm.bias.view(-1, *ones)


def literal_residual(block: Any, x: Tensor) -> Tensor:
    def norm(layer: Any, y: Tensor) -> Tensor:
        return F.instance_norm(y, weight=layer.weight, bias=layer.bias, eps=layer.eps)

    first, second = block.main[0], block.main[1]
    y = second(F.leaky_relu(norm(first[1][1], first[0](x)), 0.01))
    shortcut = norm(block.shortcut[1], block.shortcut[0](x)) if len(block.shortcut) else x
    return F.leaky_relu(norm(block.main[3], y) + shortcut, 0.01)


@pytest.mark.parametrize("plan", ["halved through the plane", "2d"])
def test_equals_its_structure_written_out(plan: str) -> None:
    network: Any = ux_net(PLANS[plan], deep_supervision=True).double()
    randomise(network)
    image = PLANS[plan].image().double()
    encoder, decoder = network.encoder, network.decoder
    features, x = [literal_residual(encoder.outputs[0], image)], image
    for stage in range(1, 4):
        down = encoder.downs[stage - 1]
        x = literal_norm(down[1], down[0](x)) if stage == 1 else down[1](literal_norm(down[0], x))
        for block in encoder.stages[stage - 1]:
            x = literal_ux(block, x)
        features.append(literal_residual(encoder.outputs[stage][1], literal_norm(encoder.outputs[stage][0], x)))
    expected, x = [], features[3]
    for i in range(3):
        x = torch.cat((decoder.ups[i](x), features[2 - i]), dim=1)
        for block in decoder.stages[i]:
            x = literal_residual(block, x)
        expected.append(decoder.seg_layers[i](x))
    for one, other in zip(network(image), expected[::-1], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("kernel", "size"),
    [((1, 7, 7), (5, 9, 8)), ((7, 7, 7), (7, 8, 9)), ((7, 7, 1), (8, 9, 5)), ((7, 7), (9, 8)), ((1, 7), (9, 8))],
)
def test_block_takes_any_kernel(kernel: tuple[int, ...], size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    plan = layers(CUBIC if len(kernel) == 3 else FLAT)
    block = PlanUXBlock(6, kernel, layers=plan, layer_scale=1.0).double()
    randomise(block)
    assert block.conv.weight.shape == (6, 1, *kernel)
    x = torch.randn(2, 6, *size, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(block(x), literal_ux(block, x))
    wanted = [x, *block.parameters()]
    for one, other in zip(gradients(block(x), wanted), gradients(literal_ux(block, x), wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_large_kernels_where_the_plan_has_more_than_one_voxel() -> None:
    plan = TinyPlan((6, 16, 16), [[1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3]],
                    [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2]])  # fmt: skip
    network: Any = ux_net(plan, options={"kernel": 5})
    assert [stage[0].conv.kernel_size for stage in network.encoder.stages] == [(1, 5, 5), (5, 5, 5), (5, 5, 5)]
    convs = [next(m for m in down if isinstance(m, nn.Conv3d)) for down in network.encoder.downs]
    assert [conv.kernel_size for conv in convs] == [(1, 5, 5), (3, 2, 2), (2, 2, 2)]
    assert [conv.stride for conv in convs] == [(1, 2, 2), (1, 2, 2), (2, 2, 2)]
    residuals = [output if i == 0 else output[1] for i, output in enumerate(network.encoder.outputs)]
    assert [r.main[0][0].kernel_size for r in residuals] == [(1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3)]


def test_every_slice_is_read_where_the_first_stage_strides_across_slices() -> None:
    plan = TinyPlan((8, 8, 8), [[1, 3, 3]] * 2, [[1, 1, 1], [2, 2, 2]])
    network: Any = ux_net(plan, norm_op=None)
    image = plan.image().requires_grad_()
    (gradient,) = gradients(network.encoder.downs[0][0](image), [image])
    assert (gradient.abs().amax(dim=(0, 1, 3, 4)) > 0).all()


def test_encoder_is_as_wide_as_the_stage_above() -> None:
    network: Any = ux_net(PLANS["6 slices"])
    assert [stage[0].conv.in_channels for stage in network.encoder.stages] == [4, 8, 16, 16]
    assert [len(stage) for stage in network.encoder.stages] == [2, 2, 2, 2]
    deeper: Any = ux_net(n_conv_per_stage=[1, 3, 4])
    assert [len(stage) for stage in deeper.encoder.stages] == [3, 4]


@pytest.mark.parametrize(("convs", "blocks"), [([1, 1], [1, 2]), ([2, 2], [1, 2]), ([4, 3], [2, 3])])
def test_residual_block_stands_for_two_convolutions(convs: list[int], blocks: list[int]) -> None:
    # The full resolution has one more, as published.
    network: Any = ux_net(n_conv_per_stage_decoder=convs)
    assert [len(stage) for stage in network.decoder.stages] == blocks


def test_published_size_term_by_term() -> None:
    width = [48, 96, 192, 384]

    def residual(i: int, o: int) -> int:
        return 27 * i * o + 27 * o * o + (i * o if i != o else 0)  # no bias, norms without weights

    blocks = sum(2 * ((343 * c + c) + 2 * c + (4 * c + 4 * c) + (4 * c + c) + c) for c in width)
    stem = 343 * 48 + 48 + 2 * 48
    downs = sum(2 * a + 8 * a * b + b for a, b in pairwise(width))
    outputs = sum(2 * c + residual(c, 2 * c) for c in width) + residual(1, 48)
    ups = sum(8 * 2 * c * c + residual(2 * c, c) for c in width)
    found = sum(p.numel() for p in paper_ux_net().parameters())
    assert found == blocks + stem + downs + outputs + ups + residual(48, 48) + (48 * 5 + 5) == 53_006_069
    # Of which the encoder proper has the published 1.3 million.
    assert round((blocks + stem + downs) / 1e6, 1) == 1.3


def test_arithmetic_is_that_of_the_published_network() -> None:
    # 577 GMAC of convolutions at 96 x 96 x 96.
    with torch.device("meta"):
        network, image = paper_ux_net().eval(), torch.empty(1, 1, 96, 96, 96)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    assert round(counter.get_total_flops() / 2e9) == 577


def test_blocks_begin_as_if_they_were_not_there() -> None:
    network, without = ux_net().eval(), ux_net(options={"block": "identity"}).eval()
    missing = without.load_state_dict(network.state_dict(), strict=False)
    assert missing.missing_keys == []
    image = SMALL.image()
    torch.testing.assert_close(network(image), without(image), atol=1e-3, rtol=1e-3)


def test_blocks_may_be_plain_convolutions() -> None:
    network: Any = ux_net(options={"block": "conv"})
    assert all(isinstance(block, ResidualPair) for stage in network.encoder.stages for block in stage)
    assert network(SMALL.image()).shape == (1, 3, *SMALL.patch)


def test_recomputing_changes_memory_and_nothing_else() -> None:
    plan = PLANS["4 slices"]
    image, results = plan.image().double(), []
    again, kept = ux_net(plan).double(), ux_net(plan, options={"recompute": False}).double()
    assert kept_bytes(again, image) < 0.65 * kept_bytes(kept, image)
    for network in (again, kept):
        logits = network(image)
        results.append([logits, *gradients(logits, list(network.encoder.parameters()))])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_channel_norm_equals_its_formula_and_keeps_half_precision() -> None:
    torch.manual_seed(0)
    norm = ChannelNorm(5).double()
    randomise(norm)
    x = torch.randn(2, 5, 3, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(norm(x), literal_norm(norm, x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ChannelNorm(5)(x.bfloat16()).dtype == torch.bfloat16


def test_two_stages_are_enough() -> None:
    plan = thick(3, 8, 8, stages=2)
    assert [tuple(o.shape) for o in ux_net(plan, deep_supervision=True)(plan.image())] == [(1, 3, 3, 8, 8)]


@pytest.mark.parametrize(("options", "said"), [({"kernel": 4}, "kernel is 4"), ({"block": "x"}, "block is 'x'"),
                                               ({"patch_size": [8, 8]}, "patch_size has no effect")])  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(NetworkPlanError, match=said):
        UXNetOptions.of(options)


def test_options_are_written_and_read_as_json() -> None:
    options = UXNetOptions(block="conv", kernel=5, heads="full")
    assert UXNetOptions.of(json.loads(json.dumps(options.as_json()))) == options
