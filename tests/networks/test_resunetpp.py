"""SpineResUNetPP: its blocks against explicit formulas, its options, its places. Promises of all networks:
test_contracts."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nnunet_spine_ext.networks.blocks.resunetpp import DecoderAttention, PreActBlock, SummedASPP
from nnunet_spine_ext.networks.blocks.se import SqueezeExcite
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.resunetpp import SpineResUNetPP, paper_resunetpp
from nnunet_spine_ext.networks.resunetpp_options import PAPER_OPTIONS, ResUNetPPOptions
from tests.networks.tiny import CUBIC, FLAT, PLANS, SMALL, TinyPlan, gradients, layers, randomise, thick


def resunetpp(plan: TinyPlan = SMALL, *, deep_supervision: bool = False, options: Any = None, **changed: Any) -> Any:
    torch.manual_seed(0)
    network = SpineResUNetPP(
        input_channels=1, num_classes=3, deep_supervision=deep_supervision, options=options, **plan.words(**changed)
    )
    network.apply(network.initialize)
    return network


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# ---- blocks ------------------------------------------------------------------------------------------------------


def test_squeeze_and_excitation_by_its_formula() -> None:
    block = SqueezeExcite(6, reduction=2).double()
    x = torch.randn(2, 6, 3, 4, 5, dtype=torch.float64)
    found = block(x).detach().numpy()
    first, second = block.squeeze.weight.detach().numpy(), block.excite.weight.detach().numpy()
    assert first.shape == (3, 6)
    for b, c in product(range(2), range(6)):
        means = np.array([x[b, i].numpy().mean() for i in range(6)])
        weight = 1 / (1 + np.exp(-(second @ np.maximum(first @ means, 0))))[c]
        np.testing.assert_allclose(found[b, c], x[b, c].numpy() * weight)


@pytest.mark.parametrize("form", ["official", "paper003"])
def test_pyramid_by_its_formula(form: Any) -> None:
    block = SummedASPP(
        4, 3, kernel=(1, 3, 3), dilations=[(1, 1, 1), (1, 2, 2), (1, 3, 3)], layers=layers(CUBIC), form=form
    ).double()
    randomise(block)
    x = torch.randn(2, 4, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    maps = []
    for line in block.lines:
        conv, *rest = line
        y = conv(x)
        if form == "paper003":
            y = nn.functional.leaky_relu(y, 0.01)
        maps.append(rest[-1](y))
    expected = block.out(torch.cat(maps, 1) if form == "paper003" else maps[0] + maps[1] + maps[2])
    found = block(x)
    torch.testing.assert_close(found, expected)
    inputs = [x, *block.parameters()]
    for one, other in zip(gradients(found, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("form", "maps"), [("official", 5), ("paper003", 1)])
def test_attention_multiplies_by_what_skip_and_decoder_show(form: Any, maps: int) -> None:
    pool = nn.MaxPool2d(2, 2)
    block = DecoderAttention(3, 5, ((3, 3), (3, 3)), layers=layers(FLAT), pool=pool, form=form).double()
    randomise(block)
    x, skip = torch.randn(2, 5, 4, 4, dtype=torch.float64), torch.randn(2, 3, 8, 8, dtype=torch.float64)

    def normed(unit: Any, y: torch.Tensor) -> torch.Tensor:
        _, norm, _ = unit[0]
        mean, variance = y.mean((2, 3), keepdim=True), y.var((2, 3), keepdim=True, unbiased=False)
        shape = (1, -1, 1, 1)
        y = (y - mean) / torch.sqrt(variance + norm.eps) * norm.weight.view(shape) + norm.bias.view(shape)
        return torch.where(y > 0, y, 0.01 * y)

    def conv(unit: Any, y: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = unit[1](normed(unit, y))
        return result

    total = pool(conv(block.of_skip[0], skip)) + conv(block.of_features, x)
    attention = conv(block.attention, total)
    assert attention.shape[1] == maps
    torch.testing.assert_close(block(x, skip), x * attention)


@pytest.mark.parametrize("form", ["official", "paper003"])
def test_residual_block_normalises_first(form: Any) -> None:
    block = PreActBlock(3, 4, ((3, 3), (1, 3)), layers=layers(FLAT), form=form, stride=(2, 1)).double()
    randomise(block)
    x = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    y = x
    for unit in block.main:
        activated = nn.functional.leaky_relu(unit[0][1](y), 0.01)
        y = unit[1](activated)
    shortcut, norm = block.shortcut
    assert shortcut.kernel_size == ((1, 1) if form == "official" else (3, 3))
    torch.testing.assert_close(block(x), y + norm(shortcut(x)))
    assert block(x).shape == (1, 4, 3, 6)


def test_block_without_a_norm_leaves_its_input_alone() -> None:
    # The plan's LeakyReLU works in place; before it there is then nothing but the input, which the shortcut needs too.
    block = PreActBlock(3, 3, ((3, 3), (3, 3)), layers=layers(FLAT, norm_op=None), form="official")
    x = torch.randn(1, 3, 5, 5)
    before = x.clone()
    block(x)
    assert torch.equal(x, before)


def test_biases_stand_only_where_no_norm_cancels_them() -> None:
    # A constant added to a cancelled bias changes nothing; one added to any that is left changes the logits.
    for form in ("official", "paper003"):
        plan, options = PLANS["2d"], {"form": form, "se_reduction": 1}
        network = resunetpp(plan, options=options, conv_bias=False).double().eval()
        biased = [(name, m) for name, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
        image = plan.image().double()
        logits = network(image)
        unseen = []
        for name, module in biased:
            assert module.bias is not None
            before = module.bias.data.clone()
            module.bias.data = torch.linspace(0.2, 0.5, len(before), dtype=torch.float64)
            if torch.allclose(network(image), logits):
                unseen.append(name)
            module.bias.data = before
        # In evaluation the heads of the lower resolutions are not asked.
        assert unseen == ["decoder.seg_layers.0", "decoder.seg_layers.1"]
        assert len(biased) < sum(isinstance(m, nn.Conv2d) for m in network.modules())


# ---- the network -------------------------------------------------------------------------------------------------


def kinds(network: nn.Module) -> list[int]:
    return [
        sum(isinstance(m, kind) for m in network.modules()) for kind in (SqueezeExcite, SummedASPP, DecoderAttention)
    ]


def test_each_novel_block_can_be_switched_off() -> None:
    # Three stages: SE after stem, two encoder and two decoder blocks; ASPP at bridge and head; two attentions.
    image = SMALL.image()
    for options, expected in (
        ({}, [5, 2, 2]),
        ({"se": False}, [0, 2, 2]),
        ({"aspp": "none"}, [5, 0, 2]),
        ({"attention": False}, [5, 2, 0]),
        ({"se": False, "aspp": "none", "attention": False}, [0, 0, 0]),
        ({"form": "paper003"}, [2, 2, 2]),
    ):
        network = resunetpp(options=options)
        assert kinds(network) == expected
        assert network(image).shape == (1, 3, *SMALL.patch)


def test_undilated_control_has_the_same_weights() -> None:
    resunetpp(options={"aspp": "undilated"}).load_state_dict(resunetpp().state_dict(), strict=True)


def test_decoder_has_the_plans_widths_and_the_encoder_half() -> None:
    network = resunetpp(deep_supervision=True, features_per_stage=[6, 12, 24])
    assert [f.shape[1] for f in network.encoder(SMALL.image())] == [3, 6, 24]
    assert [head.in_channels for head in network.decoder.seg_layers] == [12, 3]


@pytest.mark.parametrize(("convs", "blocks"), [(1, 1), (2, 1), (3, 2), (6, 3)])
def test_residual_block_stands_for_two_convolutions(convs: int, blocks: int) -> None:
    network = resunetpp(n_conv_per_stage=convs)
    assert sum(isinstance(m, PreActBlock) for m in network.encoder.stages[1].modules()) == blocks
    network = resunetpp(n_conv_per_stage_decoder=convs)
    assert sum(isinstance(m, PreActBlock) for m in network.decoder.ups[0].modules()) == blocks


def test_every_slice_reaches_the_bottom_where_slices_are_halved() -> None:
    # Without norms, squeeze and excitation, whose statistics see every slice.
    plan = PLANS["halved through the plane"]
    network = resunetpp(plan, norm_op=None, options={"se": False})
    image = plan.image().requires_grad_()
    (gradient,) = gradients(network.encoder(image)[-1], [image])
    assert (gradient.abs().amax(dim=(0, 1, 3, 4)) > 0).all()


def dilations(block: SummedASPP) -> list[tuple[int, ...]]:
    return [line[0].dilation for line in block.lines]  # type: ignore[index, misc]


def test_dilations_lie_in_the_plane_and_are_cut_where_the_map_is_small() -> None:
    network = resunetpp(thick(5, 64, 32, stages=4))
    assert dilations(network.encoder.bridge) == [(1, r, r) for r in (1, 6, 12, 18)]
    # The bridge has 8 x 4 voxels in the plane, the head the patch's 64 x 32.
    network = resunetpp(thick(5, 64, 32, stages=4), options={"patch_size": (5, 64, 32)})
    assert dilations(network.encoder.bridge) == [(1, 1, 1), (1, 3, 1), (1, 3, 1), (1, 3, 1)]
    assert dilations(network.decoder.output) == [(1, 1, 1), (1, 6, 6), (1, 12, 12), (1, 18, 15)]


def test_paper_variant_has_one_map_wide_shortcuts_and_linear_up_sampling() -> None:
    network = resunetpp(PLANS["2d"], options={"form": "paper003"})
    assert network.decoder.ups[0].attention.attention[1].out_channels == 1
    assert network.encoder.stages[1][0].shortcut[0].kernel_size == (3, 3)
    assert dilations(network.encoder.bridge) == [(6, 6), (12, 12), (18, 18)]
    constant_steps = network.decoder.ups[0].up(torch.arange(4.0).expand(1, 1, 4, 4))[0, 0, 0]
    torch.testing.assert_close(constant_steps, torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))


def test_options_survive_a_plans_file() -> None:
    options = ResUNetPPOptions(rates=(1, 2), se=False, patch_size=(5, 16, 16))
    assert ResUNetPPOptions.of(json.loads(json.dumps(options.as_json()))) == options
    assert ResUNetPPOptions.of(PAPER_OPTIONS.as_json()) == PAPER_OPTIONS


@pytest.mark.parametrize("options", [{"se_reduction": 0}, {"rates": []}, {"rates": [0]}, {"form": "mine"}])
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(NetworkPlanError, match=next(iter(options))):
        ResUNetPPOptions.of(options)


# ---- the published sizes, term by term ---------------------------------------------------------------------------


def conv(inputs: int, outputs: int, taps: int) -> int:
    return taps * inputs * outputs + outputs


def norm(channels: int) -> int:
    return 2 * channels


def residual(inputs: int, outputs: int, shortcut_taps: int) -> int:
    main = norm(inputs) + conv(inputs, outputs, 9) + norm(outputs) + conv(outputs, outputs, 9)
    return main + conv(inputs, outputs, shortcut_taps) + norm(outputs)


def official(classes: int) -> int:
    def se(channels: int) -> int:
        return 2 * channels * (channels // 8)

    def aspp(inputs: int, outputs: int) -> int:
        return 4 * (conv(inputs, outputs, 9) + norm(outputs)) + conv(outputs, outputs, 1)

    def attention(skip: int, x: int) -> int:
        return norm(skip) + conv(skip, x, 9) + norm(x) + conv(x, x, 9) + norm(x) + conv(x, x, 9)

    total = conv(1, 16, 9) + norm(16) + conv(16, 16, 9) + conv(1, 16, 1) + norm(16) + se(16)
    total += sum(residual(i, o, 1) + se(o) for i, o in ((16, 32), (32, 64), (64, 128)))
    total += aspp(128, 256) + aspp(32, 16) + conv(16, classes, 1)
    for x, skip, out in ((256, 64, 128), (128, 32, 64), (64, 16, 32)):
        total += attention(skip, x) + residual(x + skip, out, 1) + se(out)
    return total


def paper003(classes: int) -> int:
    def se(channels: int) -> int:
        return 2 * channels * (channels // 16)

    def aspp(inputs: int, outputs: int) -> int:
        return 3 * (conv(inputs, outputs, 9) + norm(outputs)) + conv(3 * outputs, outputs, 1)

    def attention(skip: int, x: int) -> int:
        return norm(skip) + conv(skip, x, 9) + norm(x) + conv(x, x, 9) + norm(x) + conv(x, 1, 1)

    total = conv(1, 32, 9) + norm(32) + conv(32, 32, 9) + conv(1, 32, 9)
    total += sum(se(i) + residual(i, o, 9) for i, o in ((32, 64), (64, 128), (128, 256)))
    total += aspp(256, 512) + aspp(64, 32) + conv(32, classes, 1)
    for x, skip, out in ((512, 128, 256), (256, 64, 128), (128, 32, 64)):
        total += attention(skip, x) + residual(x + skip, out, 9)
    return total


@pytest.mark.parametrize("classes", [2, 20])
@pytest.mark.parametrize(("form", "size"), [("official", official), ("paper003", paper003)])
def test_published_sizes_add_up(form: Any, size: Any, classes: int) -> None:
    with torch.device("meta"):
        assert parameters(paper_resunetpp(form=form, num_classes=classes)) == size(classes)


def test_paper_003_prints_fourteen_million() -> None:
    # 14.48 M, of which the table's 14 M and the 14.482 M of the variant's code are roundings.
    assert round(paper003(20) / 1e6, 3) == 14.482


def test_norms_do_not_undo_the_weights_of_channels() -> None:
    """InstanceNorm after squeeze and excitation would: what a channel is multiplied with, it is divided by again."""
    factors = torch.tensor([0.1, 0.5, 1.0, 3.0]).view(1, 4, 1, 1)
    x = torch.randn(2, 4, 9, 9)
    instance, keeping = layers(FLAT).norm(4), layers(FLAT).keeping_channel_weights().norm(4)
    torch.testing.assert_close(instance(x * factors), instance(x), rtol=0.01, atol=0.01)
    assert (keeping(x * factors) - keeping(x)).abs().max() > 0.5
    kinds = {type(module) for module in resunetpp().modules()}
    assert nn.InstanceNorm3d not in kinds
    assert nn.InstanceNorm3d in {type(module) for module in resunetpp(options={"se": False}).modules()}
