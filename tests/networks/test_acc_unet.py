"""ACC-UNet, whose maps are never put side by side, against the network as it is written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_spine_ext.networks.acc_unet import (
    PAPER_OPTIONS,
    ACCUNetOptions,
    SpineACCUNet,
    paper_acc_unet,
    paper_architecture,
)
from nnunet_spine_ext.networks.blocks.acc_hanc import HANCBlock, NeighbourhoodMix
from nnunet_spine_ext.networks.blocks.acc_squeeze import ACCSqueeze
from nnunet_spine_ext.networks.blocks.axes import Axes
from nnunet_spine_ext.networks.blocks.layers import GroupNorm1
from nnunet_spine_ext.networks.blocks.mlfc import LevelCompilation, ResPath, _Level
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from tests.networks.tiny import CUBIC, FLAT, PLANS, SMALL, TinyPlan, gradients, kept_bytes, layers, randomise, thick

THICK_STRIDES, CUBE_STRIDES, FLAT_STRIDES = ((1, 2, 2), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((2, 2), (2, 3))
CASES = [
    pytest.param(CUBIC, (2, 3, 4, 8, 12), THICK_STRIDES, id="thick slices"),
    pytest.param(CUBIC, (1, 3, 8, 4, 8), CUBE_STRIDES, id="isotropic"),
    pytest.param(FLAT, (2, 3, 8, 12), FLAT_STRIDES, id="2d"),
    pytest.param(FLAT, (2, 3, 5, 7), (), id="the voxel alone"),
]


def acc_unet(plan: TinyPlan = SMALL, *, deep_supervision: bool = False, **changed: Any) -> SpineACCUNet:
    torch.manual_seed(0)
    options = changed.pop("options", None)
    network = SpineACCUNet(
        input_channels=1, num_classes=3, deep_supervision=deep_supervision, options=options, **plan.words(**changed)
    )
    network.apply(network.initialize)
    return network


def modules(network: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [m for m in network.modules() if isinstance(m, kind)]


# ---- the definitions, written out --------------------------------------------------------------------------------


def repeated(x: Tensor, size: Sequence[int]) -> Tensor:
    """Each voxel as often as it takes to fill `size`."""
    for axis, n in enumerate(size, start=2):
        x = x.repeat_interleave(n // x.shape[axis], dim=axis)
    return x


def tiles(x: Tensor, window: Sequence[int]) -> Tensor:
    """The voxels of each tile of `window` on the last axis."""
    for axis, w in enumerate(window, start=2):
        x = x.unfold(axis, w, w)
    return x.flatten(2 + len(window))


def side_by_side(self: Any, x: Tensor) -> Tensor:
    """NeighbourhoodMix: 2k - 1 maps at full resolution, one 1x1 convolution."""
    windows, window = [], [1] * (x.dim() - 2)
    for stride in self.strides:
        window = [w * s for w, s in zip(window, stride, strict=True)]
        windows.append(window)
    maps = [x]
    maps += [repeated(tiles(x, w).mean(-1), x.shape[2:]) for w in windows]
    maps += [repeated(tiles(x, w).amax(-1), x.shape[2:]) for w in windows]
    return self.mix(torch.cat(maps, dim=1))  # type: ignore[no-any-return]


def gathered(self: Any, levels: Sequence[Tensor]) -> Tensor:
    """A level of MLFC: all levels at its resolution side by side, one 1x1 convolution."""
    size = levels[self.index].shape[2:]
    return self.gather(torch.cat([repeated(x, size) for x in levels], dim=1))  # type: ignore[no-any-return]


# ---- blocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("axes", "shape", "strides"), CASES)
def test_mix_equals_the_concatenation_in_values_and_gradients(axes: Axes, shape: Any, strides: Any) -> None:
    torch.manual_seed(0)
    mix = NeighbourhoodMix(3, 4, strides=strides, layers=layers(axes)).double()
    randomise(mix)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    ours, expected = mix(x), side_by_side(mix, x)
    torch.testing.assert_close(ours, expected)
    wanted = [x, *mix.parameters()]
    for one, other in zip(gradients(ours, wanted), gradients(expected, wanted), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("axes", "size", "strides"),
    [(CUBIC, (4, 8, 8), THICK_STRIDES), (CUBIC, (8, 8, 4), CUBE_STRIDES), (FLAT, (8, 12), FLAT_STRIDES)],
    ids=["thick slices", "isotropic", "2d"],
)
def test_levels_equal_the_concatenation_in_values_and_gradients(
    monkeypatch: pytest.MonkeyPatch, axes: Axes, size: tuple[int, ...], strides: Any
) -> None:
    torch.manual_seed(0)
    widths = (2, 3, 4)
    compilation = LevelCompilation(widths, strides=strides, layers=layers(axes)).double()
    randomise(compilation)
    levels = []
    for i, width in enumerate(widths):
        levels.append(torch.randn(2, width, *size, dtype=torch.float64, requires_grad=True))
        if i < len(strides):
            size = tuple(n // s for n, s in zip(size, strides[i], strict=True))

    def result() -> list[Tensor]:
        outputs = compilation(levels)
        total = torch.cat([o.flatten() for o in outputs])
        return [*outputs, *gradients(total, [*levels, *compilation.parameters()])]

    ours = result()
    assert [o.shape for o in ours[:3]] == [x.shape for x in levels]
    monkeypatch.setattr(_Level, "forward", whole_level)
    monkeypatch.setattr(LevelCompilation, "forward", whole_compilation)
    for one, other in zip(ours, result(), strict=True):
        torch.testing.assert_close(one, other)


def whole_level(self: Any, *levels: Tensor) -> Tensor:
    own = levels[self.index]
    together = self.gathered(gathered(self, levels))
    merged = self.merge.conv(torch.cat((together, own), dim=1))
    return self.finish(self.merged(merged) + own)  # type: ignore[no-any-return]


def whole_compilation(self: Any, levels: Sequence[Tensor]) -> list[Tensor]:
    """Means taken in one step from each finer level."""
    found = []
    for i, level in enumerate(self.levels):
        seen = list(levels)
        for j in range(i):
            window = [a // b for a, b in zip(levels[j].shape[2:], levels[i].shape[2:], strict=True)]
            seen[j] = tiles(levels[j], window).mean(-1)
        found.append(level(*seen))
    return found


def test_block_is_the_published_sequence() -> None:
    torch.manual_seed(0)
    plan = layers(FLAT, norm_op=nn.BatchNorm2d, norm_op_kwargs={})
    block: Any = HANCBlock(4, 8, (3, 3), strides=((2, 2),), expand=3, layers=plan).double().train()
    randomise(block)
    x = torch.randn(2, 4, 8, 6, dtype=torch.float64)

    def act(y: Tensor) -> Tensor:
        return F.leaky_relu(y, 0.01)

    def norm(module: nn.Module, y: Tensor) -> Tensor:
        (batch_norm,) = modules(module, nn.BatchNorm2d)
        return F.batch_norm(y, None, None, batch_norm.weight, batch_norm.bias, training=True)

    y = act(norm(block.expand, block.expand[0](x)))
    depthwise = block.depthwise[0]
    y = act(norm(block.depthwise, F.conv2d(y, depthwise.weight, depthwise.bias, padding=1, groups=12)))
    y = act(norm(block.mixed, side_by_side(block.mix, y)))
    y = act(norm(block.narrow, block.narrow[0](norm(block.norm, x + y))))
    weigh = block.weigh
    weights = torch.sigmoid(weigh.excite(act(weigh.squeeze(y.mean(dim=(2, 3))))))
    expected = act(norm(weigh, y * weights[:, :, None, None]))
    torch.testing.assert_close(block(x), expected)


def test_instance_norm_would_undo_the_weights_of_channels_and_is_replaced_there() -> None:
    torch.manual_seed(0)
    squeeze = ACCSqueeze(16, layers=layers(FLAT))
    assert isinstance(squeeze.norm, GroupNorm1)
    x = torch.randn(2, 16, 8, 8)
    before, strong = squeeze(x), nn.InstanceNorm2d(16)
    with torch.no_grad():
        squeeze.excite.bias += torch.linspace(-4, 4, 16)
    after = squeeze(x)
    assert (after - before).abs().max() > 0.5
    # What the plan's norm makes of the same weights.
    factors = torch.sigmoid(torch.linspace(-4, 4, 16)).view(1, -1, 1, 1)
    torch.testing.assert_close(strong(x * factors), strong(x), atol=0.2, rtol=0)
    assert isinstance(ACCSqueeze(16, layers=layers(FLAT, norm_op=nn.BatchNorm2d)).norm, nn.BatchNorm2d)


def test_path_is_a_chain_of_residual_units() -> None:
    torch.manual_seed(0)
    path: Any = ResPath(4, (3, 3), length=2, layers=layers(FLAT)).double()
    randomise(path)
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    y = x + path.units[0](x)
    y = y + path.units[1](y)
    first, last = path.finish[0], path.finish[2]
    y = F.leaky_relu(F.instance_norm(y, weight=first.weight, bias=first.bias), 0.01)
    torch.testing.assert_close(path(x), F.instance_norm(y, weight=last.weight, bias=last.bias))


# ---- the network -------------------------------------------------------------------------------------------------


def test_whole_network_equals_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {**paper_architecture(), "features_per_stage": [4, 8, 8, 8, 8]}
    torch.manual_seed(0)
    network = SpineACCUNet(input_channels=3, num_classes=1, options=PAPER_OPTIONS, **words).double().train()
    x = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    ours = network(x)
    monkeypatch.setattr(NeighbourhoodMix, "forward", side_by_side)
    monkeypatch.setattr(_Level, "forward", whole_level)
    monkeypatch.setattr(LevelCompilation, "forward", whole_compilation)
    torch.testing.assert_close(ours, network(x))


def test_published_size_term_by_term() -> None:
    width = [32, 64, 128, 256, 512]
    scales = [3, 3, 3, 2, 1]

    def conv(inputs: int, outputs: int, taps: int = 1) -> int:
        return inputs * outputs * taps + outputs

    def norm(channels: int) -> int:
        return 2 * channels

    def squeeze(c: int) -> int:
        return conv(c, c // 8) + conv(c // 8, c) + norm(c)

    def block(n: int, o: int, k: int, inv: int) -> int:
        inner = n * inv
        wide = conv(n, inner) + norm(inner) + conv(1, inner, 9) + norm(inner)
        return wide + conv((2 * k - 1) * inner, n) + 2 * norm(n) + conv(n, o) + norm(o) + squeeze(o)

    def pair(n: int, stage: int, second: int = 3) -> int:
        o = width[stage]
        return block(n, o, scales[stage], 3) + block(o, o, scales[stage], second)

    encoder = sum(pair(3 if s == 0 else width[s - 1], s) for s in range(5))
    decoder = sum(pair(2 * width[s], s, 34 if s == 2 else 3) + conv(width[s + 1], width[s], 4) for s in range(4))
    paths = sum((4 - s) * (conv(w, w, 9) + norm(w) + squeeze(w)) + 2 * norm(w) for s, w in enumerate(width[:4]))
    level = sum(conv(480, w) + conv(2 * w, w) + 4 * norm(w) + 3 * squeeze(w) for w in width[:4])
    network = paper_acc_unet()
    found = sum(p.numel() for p in network.parameters())
    assert found == encoder + decoder + paths + 3 * level + conv(32, 1) == 16_771_245


def test_arithmetic_is_little_more_than_half_of_the_published_code() -> None:
    # The published code: 42.96 GMAC at 224 x 224.
    with torch.device("meta"):
        network, image = paper_acc_unet().eval(), torch.empty(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    assert counter.get_total_flops() / 2e9 == pytest.approx(23.45, abs=0.01)


def test_neighbourhoods_are_those_of_the_next_stages() -> None:
    plan = PLANS["halved through the plane"]
    network: Any = acc_unet(plan)
    found = [stage[-1].mix.strides for stage in network.encoder.stages]
    assert found == [((1, 2, 2), (2, 2, 2)), ((2, 2, 2), (1, 2, 2)), ((1, 2, 2),), ()]
    # The decoder has them too, lowest resolution first.
    assert [stage[0].mix.strides for stage in network.decoder.stages] == found[2::-1]


def test_slices_are_compared_where_the_plan_halves_them_and_nowhere_else() -> None:
    mix = NeighbourhoodMix(2, 2, strides=((1, 2, 2), (2, 2, 2)), layers=layers(CUBIC))
    flat = NeighbourhoodMix(2, 2, strides=((1, 2, 2), (1, 2, 2)), layers=layers(CUBIC))
    x = torch.randn(1, 2, 4, 8, 8)
    changed = x.clone()
    changed[:, :, 0] += 1
    for one, seen in ((mix, [True, True, False, False]), (flat, [True, False, False, False])):
        assert (one(changed) != one(x)).any(dim=4).any(dim=3).any(dim=1)[0].tolist() == seen


def test_levels_read_one_another_and_deeper_skips_do_not() -> None:
    plan = thick(3, 32, 32, stages=6)
    network = acc_unet(plan, features_per_stage=[4] * 6).eval()
    skips = network.decoder.skips
    features = [torch.randn(1, 4, 3, 32 // 2**s, 32 // 2**s) for s in range(5)]
    before = skips(features)
    changed = [*features[:3], features[3] + torch.randn_like(features[3]), features[4]]
    assert [bool((a != b).any()) for a, b in zip(skips(changed), before, strict=True)] == [True] * 4 + [False]
    assert [len(path.units) for path in skips.paths] == [4, 3, 2, 1, 1]


@pytest.mark.parametrize("norm", [nn.InstanceNorm3d, nn.BatchNorm3d])
def test_recomputing_changes_memory_and_nothing_else(norm: type[nn.Module]) -> None:
    plan, words = PLANS["4 slices"], {"norm_op": norm}
    image, results = plan.image(batch=2), []
    again, kept = acc_unet(plan, **words), acc_unet(plan, options={"recompute": False}, **words)
    # BatchNorm counts what it sees, so its blocks cannot run twice; their poolings can.
    share = 0.3 if norm is nn.InstanceNorm3d else 0.98
    assert kept_bytes(again, image) < share * kept_bytes(kept, image)
    for network in (again, kept):
        logits = network(image)
        results.append(
            [logits, *gradients(logits, [*network.encoder.parameters(), *network.decoder.skips.parameters()])]
        )
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_keeps_a_tenth_of_what_the_concatenations_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = PLANS["6 slices"]
    image, ours = plan.image(), kept_bytes(acc_unet(plan), plan.image())
    network = acc_unet(plan, options={"recompute": False})
    monkeypatch.setattr(NeighbourhoodMix, "forward", side_by_side)
    monkeypatch.setattr(_Level, "_gather", gathered)
    assert ours < 0.1 * kept_bytes(network, image)


# ---- options -----------------------------------------------------------------------------------------------------


def test_default_blocks_are_no_wider_than_their_input_and_a_stem_comes_first() -> None:
    network: Any = acc_unet()
    assert {m.expand[0].out_channels // m.expand[0].in_channels for m in modules(network, HANCBlock)} == {1}
    assert network.encoder.stem[0][0].out_channels == 4
    assert network.encoder.stem[0][0].kernel_size == (1, 3, 3)
    bare: Any = acc_unet(options={"stem": "none", "expand": 3})
    assert bare.encoder.stages[0][0].expand[0].out_channels == 3


def test_one_decoder_block_may_be_widened() -> None:
    network: Any = acc_unet(PLANS["6 slices"], options={"expand": 2, "wide_expand": 5})
    found = [[b.expand[0].out_channels // b.expand[0].in_channels for b in stage] for stage in network.decoder.stages]
    # Stages 3, 2, 1 and 0.
    assert found == [[2, 2], [2, 5], [2, 2], [2, 2]]


def test_ideas_can_be_switched_off() -> None:
    def without(**options: Any) -> Any:
        network = acc_unet(options=options)
        assert network(SMALL.image()).shape == (1, 3, *SMALL.patch)
        return network

    assert {m.strides for m in modules(without(scales=1), NeighbourhoodMix)} == {()}
    lite, plain = without(skip="respath"), without(skip="plain")
    assert modules(lite, ResPath)
    assert not modules(lite, LevelCompilation)
    assert not modules(plain, ResPath)
    assert len(modules(without(passes=1), LevelCompilation)) == 1
    assert len(modules(acc_unet(), LevelCompilation)) == 3


def test_norms_have_an_eps_that_keeps_gradients_finite() -> None:
    network = acc_unet(norm_op_kwargs={"eps": 1e-5, "affine": True})
    norms = [*modules(network, nn.InstanceNorm3d), *modules(network, GroupNorm1)]
    assert {norm.eps for norm in norms} == {1e-3}
    assert {norm.eps for norm in modules(acc_unet(norm_op_kwargs={"eps": 1e-2}), nn.InstanceNorm3d)} == {1e-2}
    assert {norm.eps for norm in modules(paper_acc_unet(), nn.BatchNorm2d)} == {1e-5}


def test_number_of_blocks_is_the_plans() -> None:
    network: Any = acc_unet(n_conv_per_stage=[1, 2, 3], n_conv_per_stage_decoder=[1, 3])
    assert [len(modules(stage, HANCBlock)) for stage in network.encoder.stages] == [1, 2, 3]
    assert [len(stage) for stage in network.decoder.stages] == [1, 3]


def test_two_stages_have_nothing_to_compile() -> None:
    plan = thick(3, 8, 8, stages=2)
    network = acc_unet(plan, deep_supervision=True)
    assert [tuple(o.shape) for o in network(plan.image())] == [(1, 3, 3, 8, 8)]
    assert not modules(network, LevelCompilation)


@pytest.mark.parametrize(("options", "said"), [({"expand": 0}, "expand is 0"), ({"scales": 0}, "scales is 0"),
                                               ({"norm_eps": 0.0}, "norm_eps is 0.0"), ({"skip": "x"}, "skip is 'x'"),
                                               ({"skip": "plain", "passes": 2}, "passes has an effect only"),
                                               ({"patch_size": [8, 8]}, "patch_size has no effect")])  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(NetworkPlanError, match=said):
        ACCUNetOptions.of(options)


def test_options_are_written_and_read_as_json() -> None:
    assert ACCUNetOptions.of(json.loads(json.dumps(PAPER_OPTIONS.as_json()))) == PAPER_OPTIONS
