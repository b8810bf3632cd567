"""SpineASPPUNet: its ASPP against the literal concatenation, its options, its places. Promises of all networks:
test_contracts."""

from __future__ import annotations

import json
import logging
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from nnunet_spine_ext.networks.aspp_unet import SpineASPPUNet, paper_architecture, paper_aspp_unet
from nnunet_spine_ext.networks.aspp_unet_options import PAPER_OPTIONS, ASPPUNetOptions
from nnunet_spine_ext.networks.blocks.aspp import ASPP, mixed
from nnunet_spine_ext.networks.blocks.dilated import depthwise_conv, dilated_conv
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from tests.networks.tiny import CUBIC, PLANS, SMALL, TinyPlan, gradients, layers, randomise, thick


def aspp_unet(plan: TinyPlan = SMALL, *, deep_supervision: bool = False, options: Any = None, **changed: Any) -> Any:
    torch.manual_seed(0)
    network = SpineASPPUNet(
        input_channels=1, num_classes=3, deep_supervision=deep_supervision, options=options, **plan.words(**changed)
    )
    network.apply(network.initialize)
    return network


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# ---- the block ---------------------------------------------------------------------------------------------------


def literal_aspp(block: ASPP, x: torch.Tensor) -> torch.Tensor:
    """As the papers draw it: the pooled line enlarged, everything concatenated, one 1x1 convolution."""
    maps = [line(x) for line in block.lines]
    if block.pooled_dims:
        pooled = block.pooled(x.mean(block.pooled_dims, keepdim=True))
        maps.append(pooled.expand(-1, -1, *x.shape[2:]))
    result: torch.Tensor = block.finish(block.mix(torch.cat(maps, dim=1)))
    return result


@pytest.mark.parametrize("pooled", [(), (1, 2), (0, 1, 2)])
def test_sum_of_lines_is_the_convolution_of_their_concatenation(pooled: tuple[int, ...]) -> None:
    block = ASPP(
        4, 6, kernel=(1, 3, 3), dilations=[(1, 2, 2), (1, 3, 3)], layers=layers(CUBIC), width=5, pooled_axes=pooled
    ).double()
    randomise(block)
    x = torch.randn(2, 4, 3, 8, 9, dtype=torch.float64, requires_grad=True)
    found, expected = block(x), literal_aspp(block, x)
    torch.testing.assert_close(found, expected)
    inputs = [x, *block.parameters()]
    for one, other in zip(gradients(found, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(one, other)


def test_mix_agrees_with_a_plain_loop() -> None:
    maps = [torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 3, 1, 1, dtype=torch.float64)]
    mix = nn.Conv2d(6, 2, 1).double()
    found = mixed(maps, mix).detach()
    assert mix.bias is not None
    weight, bias = mix.weight.detach(), mix.bias.detach()
    for b, o, i, j in product(range(2), range(2), range(4), range(5)):
        by_hand = sum(float(weight[o, c, 0, 0] * maps[0][b, c, i, j]) for c in range(3))
        by_hand += sum(float(weight[o, 3 + c, 0, 0] * maps[1][b, c, 0, 0]) for c in range(3)) + float(bias[o])
        assert float(found[b, o, i, j]) == pytest.approx(by_hand)


def test_dilated_line_reads_voxels_at_its_rate_in_the_plane_only() -> None:
    conv = dilated_conv(1, 1, (1, 3, 3), dilation=(1, 2, 3), bias=False)
    nn.init.ones_(conv.weight)
    point = torch.zeros(1, 1, 3, 9, 9)
    point[0, 0, 1, 4, 4] = 1
    reached = {tuple(map(int, at)) for at in conv(point)[0, 0].nonzero()}
    assert reached == {(1, i, j) for i, j in product((2, 4, 6), (1, 4, 7))}


@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 3, 3)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2)])
def test_depthwise_is_torchs_own(kernel: tuple[int, ...], stride: tuple[int, ...]) -> None:
    conv: Any = depthwise_conv(4, kernel, dilation=(1, 2, 2), stride=stride, bias=True).double()
    x = torch.randn(2, 4, 3, 8, 6, dtype=torch.float64)
    plain = F.conv3d(x, conv.weight, conv.bias, stride, conv.padding, (1, 2, 2), groups=4)
    torch.testing.assert_close(conv(x), plain)
    assert plain.shape[3:] == ((8, 6) if stride == (1, 1, 1) else (4, 3))


def test_pooled_line_sees_its_own_slice_or_the_whole_patch() -> None:
    slices = torch.randn(1, 2, 4, 6, 6)
    changed = slices.clone()
    changed[:, :, 0] += 1
    for pooled, differ in (((1, 2), [True, False, False, False]), ((0, 1, 2), [True] * 4)):
        block = ASPP(
            2, 2, kernel=(1, 3, 3), dilations=[(1, 1, 1)], layers=layers(CUBIC, norm_op=None), pooled_axes=pooled
        )
        randomise(block)
        difference = (block(changed) != block(slices)).flatten(3).any(3)[0].any(0)
        assert difference.tolist() == differ


# ---- the network -------------------------------------------------------------------------------------------------


def contexts(network: Any) -> list[bool]:
    return [isinstance(context, ASPP) for context in network.encoder.contexts]


@pytest.mark.parametrize("flags", list(product([False, True], repeat=2)))
def test_any_subset_of_stages_has_an_aspp(flags: tuple[bool, ...]) -> None:
    network = aspp_unet(options={"aspp_stages": list(flags)})
    assert contexts(network) == list(flags)
    assert network(SMALL.image()).shape == (1, 3, *SMALL.patch)


def test_first_four_stages_have_one_and_the_bottom_never() -> None:
    deep = thick(2, 128, 128, stages=7)
    with torch.device("meta"):
        assert contexts(aspp_unet(deep, features_per_stage=4)) == [True] * 4 + [False] * 2
        assert contexts(aspp_unet(options={"aspp_stages": [True] * 9})) == [True] * 2


def test_without_aspp_it_is_a_plain_unet_in_values() -> None:
    # Every weight of the plain network is in the other; its ASPPs replaced by nothing, the logits are equal.
    full, plain = aspp_unet().eval(), aspp_unet(options={"aspp": "none"}).eval()
    state = {key: value for key, value in full.state_dict().items() if ".contexts." not in key}
    plain.load_state_dict(state, strict=True)
    full.encoder.contexts = nn.ModuleList(nn.Identity() for _ in full.encoder.contexts)
    image = SMALL.image()
    assert torch.equal(full(image), plain(image))
    assert parameters(plain) < parameters(aspp_unet())


def test_undilated_control_has_the_same_weights() -> None:
    dilated, undilated = aspp_unet(), aspp_unet(options={"aspp": "undilated"})
    undilated.load_state_dict(dilated.state_dict(), strict=True)
    rates = {m.dilation for m in undilated.modules() if isinstance(m, nn.Conv3d)}
    assert rates == {(1, 1, 1)}
    assert {m.dilation for m in dilated.modules() if isinstance(m, nn.Conv3d)} == {
        (1, 1, 1), (1, 6, 6), (1, 12, 12), (1, 18, 18),
    }  # fmt: skip


def test_skip_is_taken_before_aspp() -> None:
    network = aspp_unet().eval()
    image = SMALL.image()
    first = network.encoder(image)[0]
    torch.testing.assert_close(first, network.encoder.stages[0](image))


@pytest.mark.parametrize(("rule", "width"), [("c", 4), ("c//2", 2), ("256", 256)])
def test_width_of_the_lines(rule: str, width: int) -> None:
    network = aspp_unet(options={"aspp_width": rule})
    first = network.encoder.contexts[0]
    assert first.lines[0][0].out_channels == width
    assert first.mix.in_channels == 5 * width
    assert first.mix.out_channels == 4


def rates_of(network: Any, stage: int) -> list[tuple[int, ...]]:
    return [line[0].dilation for line in network.encoder.contexts[stage].lines[1:]]


def test_rates_are_cut_to_half_of_a_known_map(caplog: pytest.LogCaptureFixture) -> None:
    plan = thick(5, 64, 32, stages=4)
    with caplog.at_level(logging.INFO, logger="nnunet_spine_ext"):
        network = aspp_unet(plan, options={"patch_size": [5, 64, 32]})
    # (edge - 1) // 2 with edges 64 and 32, 32 and 16, 16 and 8.
    assert rates_of(network, 0) == [(1, 6, 6), (1, 12, 12), (1, 18, 15)]
    assert rates_of(network, 1) == [(1, 6, 6), (1, 12, 7), (1, 15, 7)]
    assert rates_of(network, 2) == [(1, 6, 3), (1, 7, 3), (1, 7, 3)]
    assert "dilation (1, 7, 3) instead of (1, 18, 18)" in caplog.text
    assert rates_of(aspp_unet(plan), 2) == [(1, 6, 6), (1, 12, 12), (1, 18, 18)]


def test_knowing_the_patch_changes_no_weight() -> None:
    aspp_unet(options={"patch_size": SMALL.patch}).load_state_dict(aspp_unet().state_dict(), strict=True)


def test_patch_of_slices_counts_its_last_axes() -> None:
    network = aspp_unet(PLANS["2d"], options={"patch_size": (9, 48, 32)})
    assert rates_of(network, 0) == [(6, 6), (12, 12), (18, 15)]


def test_plane_is_found_wherever_it_lies() -> None:
    network = aspp_unet(PLANS["through-plane axis last"])
    assert rates_of(network, 0) == [(6, 6, 1), (12, 12, 1), (18, 18, 1)]
    assert network.encoder.contexts[0].lines[1][0].kernel_size == (3, 3, 1)
    assert network.encoder.contexts[0].pooled_dims == (2, 3)
    assert rates_of(aspp_unet(PLANS["isotropic"]), 0) == [(6, 6, 6), (12, 12, 12), (18, 18, 18)]


def test_options_survive_a_plans_file() -> None:
    options = ASPPUNetOptions(aspp_stages=(False, True), rates=(2, 4), patch_size=(5, 16, 16), pool_axes="none")
    assert ASPPUNetOptions.of(json.loads(json.dumps(options.as_json()))) == options
    assert ASPPUNetOptions.of(PAPER_OPTIONS.as_json()) == PAPER_OPTIONS


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"aspp_stages": [1, 0]}, "aspp_stages"),
        ({"rates": [0, 6]}, "rates"),
        ({"pooled_norm": True}, "pooled_norm=True has an effect only with norm='batch'"),
        ({"patch_size": [3]}, "patch_size"),
        ({"aspp": "some"}, "'dilated', 'undilated', 'none'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(NetworkPlanError, match=said.replace("(", r"\(")):
        ASPPUNetOptions.of(options)


def test_one_head_cannot_be_deeply_supervised() -> None:
    with pytest.raises(NetworkPlanError, match="heads='full'"):
        aspp_unet(deep_supervision=True, options={"heads": "full"})


def test_even_kernels_are_refused() -> None:
    with pytest.raises(NetworkPlanError, match="odd kernels"):
        aspp_unet(kernel_sizes=2)


# ---- the paper's size, term by term ------------------------------------------------------------------------------

WIDTHS = (64, 128, 256, 512)


def conv(inputs: int, outputs: int, taps: int) -> int:
    """A convolution with bias, and BatchNorm."""
    return taps * inputs * outputs + outputs + 2 * outputs


def ledger(classes: int) -> tuple[int, list[int], int]:
    """Parameters of the U-Net, of each ASPP, and of the norms on their pooled lines."""
    unet, width = conv(1, 64, 9) + conv(64, 64, 9), 64
    for c in WIDTHS:
        unet += conv(width, c, 9) + conv(c, c, 9)
        width = c
    for c, narrower in zip(WIDTHS[::-1], (256, 128, 64, 64), strict=True):
        unet += 4 * c * c + c  # transposed, 2 x 2
        unet += conv(2 * c, narrower, 9) + conv(narrower, narrower, 9)
    unet += 64 * classes + classes
    aspps = [conv(c, c, 1) + 3 * conv(c, c, 9) + (c * c + c) + conv(5 * c, c, 1) for c in WIDTHS]
    return unet, aspps, 2 * sum(WIDTHS)


@pytest.mark.parametrize("flags", [(True, False, False, False), (False, False, True, True), (True,) * 4, (False,) * 4])
@pytest.mark.parametrize("pooled_norm", [False, True])
def test_size_of_the_papers_network_adds_up(flags: tuple[bool, ...], pooled_norm: bool) -> None:
    unet, aspps, _ = ledger(9)
    expected = unet + sum(
        size + 2 * width * pooled_norm for size, width, flag in zip(aspps, WIDTHS, flags, strict=True) if flag
    )
    with torch.device("meta"):
        assert parameters(paper_aspp_unet(aspp_stages=flags, pooled_norm=pooled_norm)) == expected


def test_the_trained_form_is_the_counted_one_without_norms_on_pooled_lines() -> None:
    unet, aspps, norms = ledger(9)
    assert unet + sum(aspps) + norms == 21_995_465
    with torch.device("meta"):
        trained = SpineASPPUNet(input_channels=1, num_classes=9, options=PAPER_OPTIONS, **paper_architecture())
    assert parameters(trained) == 21_995_465 - norms == 21_993_545


def test_papers_network_takes_the_papers_slices() -> None:
    network = paper_aspp_unet().eval()
    with torch.no_grad():
        assert network(torch.randn(1, 1, 32, 48)).shape == (1, 9, 32, 48)


def test_norm_on_the_pooled_line_needs_two_samples() -> None:
    plan = PLANS["2d"]
    options = {"norm": "batch", "pooled_norm": True}
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        aspp_unet(plan, options=options)(plan.image())
    assert aspp_unet(plan, options=options)(plan.image(batch=2)).shape == (2, 3, *plan.patch)
