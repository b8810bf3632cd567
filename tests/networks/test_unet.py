"""SpineUNet on plans: what its words and options mean. The promises of every network are in test_contracts."""

from __future__ import annotations

import json
import pydoc
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.attention_gate import AttentionGate, GridAttentionGate
from nnunet_spine_ext.networks.blocks.cie import CIE
from nnunet_spine_ext.networks.blocks.mfe import MFE
from nnunet_spine_ext.networks.blocks.spconv import SPConv
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.registry import build
from nnunet_spine_ext.networks.unet import SpineUNet, UNetOptions
from tests.networks.tiny import FLAT as FLAT_AXES
from tests.networks.tiny import PLANS, SMALL, TinyPlan, kept_bytes, layers, randomise, thick

UPS = ("transposed", "transposed_same", "linear", "nearest_conv")
SKIPS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ra": {"skip": "residual_attention"},
    "gate": {"skip": "attention_gate"},
    "grid": {"skip": "attention_gate", "gate": "additive-grid"},
}
BLOCKS = ("double", "spconv", "conv_module")
FLAT = TinyPlan((16, 24), [[3, 3]] * 3, [[1, 1]] + [[2, 2]] * 2)


def unet(plan: TinyPlan = SMALL, *, deep_supervision: bool = False, options: Any = None, **changed: Any) -> SpineUNet:
    torch.manual_seed(0)
    network = SpineUNet(
        input_channels=1, num_classes=3, deep_supervision=deep_supervision, options=options, **plan.words(**changed)
    )
    network.apply(network.initialize)
    return network


def modules(network: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [m for m in network.modules() if isinstance(m, kind)]


def written_out(network: Any, x: Tensor, *, up: str, skip: str) -> list[Tensor]:
    """A U-Net of three stages, written out; only the blocks are the network's."""

    def upsampled(stage: Any, below: Tensor) -> Tensor:
        if up == "linear":
            return F.interpolate(below, scale_factor=2, mode="bilinear")
        if up == "nearest_conv":
            return stage.up[1](below.repeat_interleave(2, 2).repeat_interleave(2, 3))  # type: ignore[no-any-return]
        return F.conv_transpose2d(below, stage.up.weight, stage.up.bias, stride=2)

    def level(stage: Any, below: Tensor, left: Tensor, *, gated: bool = True) -> Tensor:
        raised = upsampled(stage, below)
        if skip == "gate":
            left = stage.gate(left, raised)
        if skip == "ra" or (skip == "grid" and gated):
            left = stage.gate(left, below)
        return stage.convs(torch.cat([left, raised], dim=1))  # type: ignore[no-any-return]

    first, second, bottom = network.encoder.stages
    lower, upper = network.decoder.ups
    e0 = first(network.encoder.stem(x))
    e1 = second(F.max_pool2d(e0, 2))
    d1 = level(lower, bottom(F.max_pool2d(e1, 2)), e1)
    d0 = level(upper, d1, e0, gated=False)
    heads = network.decoder.seg_layers
    return [heads[1](d0), heads[0](d1)]


@pytest.mark.parametrize(("up", "skip", "block"), list(product(UPS, SKIPS, BLOCKS)))
def test_is_the_u_net_written_out(up: str, skip: str, block: str) -> None:
    network = unet(FLAT, deep_supervision=True, options={"up": up, "block": block, **SKIPS[skip]}).double().eval()
    randomise(network)
    x = FLAT.image().double()
    for one, other in zip(network(x), written_out(network, x, up=up, skip=skip), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("option", ["conv_module", "spconv", "ra", "grid", "linear", "nearest_conv"])
def test_axes_may_come_in_any_order(option: str) -> None:
    # The same weights on the same image, its slices once on axis 0 and once on axis 2.
    options = SKIPS.get(option) or ({"block": option} if option in BLOCKS else {"up": option})
    first_plan = thick(4, 16, 24, stages=3)
    last_plan = TinyPlan((16, 24, 4), [[3, 3, 1], [3, 3, 1], [3, 3, 3]], [[1, 1, 1], [2, 2, 1], [2, 2, 1]])
    first, last = (unet(p, deep_supervision=True, options=options).eval() for p in (first_plan, last_plan))
    randomise(first)
    state = first.state_dict()
    last.load_state_dict({name: v.movedim(2, -1) if v.dim() == 5 else v for name, v in state.items()})
    image = first_plan.image()
    for one, other in zip(first(image), last(image.movedim(2, -1)), strict=True):
        torch.testing.assert_close(one, other.movedim(-1, 2), atol=1e-4, rtol=1e-4)


def test_stock_trainer_can_build_it_from_a_plans_file() -> None:
    # As nnU-Net does: JSON, dotted paths, three arguments beside the file's, then apply(initialize).
    dotted = {"conv_op": "torch.nn.modules.conv.Conv3d", "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
              "nonlin": "torch.nn.LeakyReLU"}  # fmt: skip
    options = {"block": "conv_module", "skip": "residual_attention", "features": [4, 8, 12]}
    file = json.loads(json.dumps({**SMALL.words(**dotted), "options": options}))
    for word in ("conv_op", "norm_op", "dropout_op", "nonlin"):
        file[word] = None if file[word] is None else pydoc.locate(file[word])
    network_class: Any = pydoc.locate("nnunet_spine_ext.networks.unet.SpineUNet")
    network = network_class(input_channels=2, num_classes=4, deep_supervision=True, **file)
    network.apply(network.initialize)
    assert [tuple(o.shape) for o in network(SMALL.image(channels=2))] == [(1, 4, 5, 16, 16), (1, 4, 5, 8, 8)]
    assert network.options == UNetOptions(**{**options, "features": (4, 8, 12)})


def test_kernels_and_numbers_of_convolutions_are_the_plans() -> None:
    network = unet(n_conv_per_stage=[1, 3, 2], n_conv_per_stage_decoder=[4, 1])
    kernels = [[c.kernel_size for c in modules(s, nn.Conv3d)] for s in network.encoder.stages]
    assert kernels == [[(1, 3, 3)], [(1, 3, 3)] * 3, [(3, 3, 3)] * 2]
    assert [len(modules(up.convs, nn.Conv3d)) for up in network.decoder.ups] == [4, 1]
    assert [up.up.kernel_size for up in network.decoder.ups] == [(1, 2, 2), (1, 2, 2)]


def test_words_about_layers_are_obeyed() -> None:
    network = unet(
        norm_op=nn.BatchNorm3d, norm_op_kwargs={"eps": 1e-3}, nonlin=nn.SiLU, nonlin_kwargs={}, dropout_op=nn.Dropout3d,
        dropout_op_kwargs={"p": 0.25}, conv_bias=False,
    )  # fmt: skip
    assert {norm.eps for norm in modules(network, nn.BatchNorm3d)} == {1e-3}
    assert len(modules(network, nn.BatchNorm3d)) == 10
    assert len(modules(network, nn.SiLU)) == 10
    assert {drop.p for drop in modules(network, nn.Dropout3d)} == {0.25}
    # Before a norm as the plan says; the up-sampling and the heads have none behind them.
    with_bias = [c for c in modules(network, nn.Conv3d) if c.bias is not None]
    assert with_bias == list(network.decoder.seg_layers)
    assert all(up.up.bias is not None for up in network.decoder.ups)


def test_papers_choices_replace_the_plans_layers() -> None:
    network = unet(options={"norm": "batch", "activation": "relu", "bias": "no", "features": [4, 8, 12]})
    assert len(modules(network, nn.BatchNorm3d)) == len(modules(network, nn.ReLU)) == 10
    assert not modules(network, nn.InstanceNorm3d)
    assert network.encoder.stages[2][1][0].out_channels == 12
    assert network.encoder.stages[0][0][0].bias is None
    bare = unet(options={"norm": "none", "bias": "no"})
    assert not modules(bare, nn.InstanceNorm3d)
    assert all(c.bias is not None for c in modules(bare, nn.Conv3d))


def test_nonlinearity_after_up_sampling_is_an_option() -> None:
    assert len(modules(unet(options={"up_act": True}), nn.LeakyReLU)) == len(modules(unet(), nn.LeakyReLU)) + 2


def test_modules_stand_everywhere_but_at_the_bottom() -> None:
    network = unet(options={"block": "conv_module"})
    for kind in (CIE, MFE):
        assert [len(modules(s, kind)) for s in network.encoder.stages] == [1, 1, 0]
        assert [len(modules(u, kind)) for u in network.decoder.ups] == [1, 1]
    assert len(modules(unet(options={"block": "spconv"}), SPConv)) == 10


@pytest.mark.parametrize(("channels", "stem"), [(1, 4), (3, 4), (4, None), (5, 8)])
def test_spconv_raises_an_image_that_does_not_split(channels: int, stem: int | None) -> None:
    network = SpineUNet(input_channels=channels, num_classes=2, options={"block": "spconv"}, **SMALL.words())
    found = network.encoder.stem
    assert (found.out_channels if isinstance(found, nn.Conv3d) else None) == stem


def test_original_gate_leaves_the_full_resolution_alone() -> None:
    grid = unet(options={"skip": "attention_gate", "gate": "additive-grid"})
    assert [type(up.gate) for up in grid.decoder.ups] == [GridAttentionGate, type(None)]
    assert [type(up.gate) for up in unet(options={"skip": "attention_gate"}).decoder.ups] == [AttentionGate] * 2


@pytest.mark.parametrize("up", ["linear", "transposed_same"])
def test_convolutions_narrow_where_up_sampling_keeps_the_width(up: str) -> None:
    network = unet(thick(4, 16, 16, stages=4), options={"up": up, "features": [4, 8, 16, 12]})
    # (skip + from below) → the next stage's width: 16 + 12 → 8, 8 + 8 → 4, 4 + 4 → 4.
    widths = [(u.convs[0][0].in_channels, u.convs[0][0].out_channels) for u in network.decoder.ups]
    assert widths == [(28, 8), (16, 4), (8, 4)]


def test_single_head_is_the_papers_and_refuses_deep_supervision() -> None:
    network = unet(options={"heads": "full"})
    assert len(network.decoder.seg_layers) == 1
    assert network(SMALL.image()).shape == (1, 3, *SMALL.patch)
    with pytest.raises(NetworkPlanError, match=r"heads=.full. leaves no output .* deep supervision off"):
        unet(deep_supervision=True, options={"heads": "full"})


def test_pooling_keeps_no_indices() -> None:
    # They have 8 bytes for each pooled voxel: half as much as the map before it.
    plan = thick(4, 64, 64, stages=2)
    image = plan.image()
    network = unet(plan, norm_op=None, n_conv_per_stage=1, n_conv_per_stage_decoder=1)
    one_map = 4 * 4 * 4 * 64 * 64
    # Image, skip and its concatenation with as much again, the pooled map, the bottom (half as wide again), the last.
    assert kept_bytes(network, image) < one_map * (0.25 + 1 + 2 + 0.25 + 0.5 + 1 + 0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": "residual"}, "block is 'residual', expected one of"),
        ({"features": [4]}, "expected a positive width for each of at least 2 stages"),
        ({"features": [4, 0, 8]}, "expected a positive width"),
        ({"features": [4, 8]}, "expected 3 positive integers"),
        ({"up_act": True, "up": "linear"}, "up_act=True has an effect only with up='transposed…'"),
        ({"gate": "additive-grid"}, "gate='additive-grid' has an effect only with skip='attention_gate'"),
        ({"mfe_fuse": "full"}, "mfe_fuse='full' has an effect only with block='conv_module'"),
        ({"patch_size": [5, 16, 16]}, "patch_size has no effect"),
        ({"width": 4}, "no option width"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkPlanError, match=message):
        unet(options=options)


def test_even_kernels_and_widths_that_do_not_split_are_refused() -> None:
    with pytest.raises(NetworkPlanError, match="takes odd kernels"):
        unet(kernel_sizes=[[2, 2, 2]] * 3)
    with pytest.raises(NetworkPlanError, match="multiples of 4"):
        unet(features_per_stage=[6, 12, 24], options={"block": "spconv"})


@pytest.mark.parametrize("block", [CIE, MFE])
def test_initial_weights_of_blocks_without_a_nonlinearity_double_the_variance(block: type[CIE] | type[MFE]) -> None:
    # Input plus a branch of the same variance. He's initialisation would make it 4 to 5 times as large, or 8 times.
    torch.manual_seed(0)
    made = block(64, (3, 3), layers=layers(FLAT_AXES)).apply(SpineUNet.initialize)
    with torch.no_grad():
        assert 1.4 < float(made(torch.randn(2, 64, 32, 32)).var()) < 2.6


def test_smallest_network_has_two_stages() -> None:
    network = unet(thick(3, 8, 8, stages=2), deep_supervision=True)
    assert [tuple(o.shape) for o in network(torch.randn(1, 1, 3, 8, 8))] == [(1, 3, 3, 8, 8)]


def test_five_slices_and_two_maps_reach_the_networks_of_paper_001() -> None:
    network: Any = build(
        "unet-001", PLANS["5 slices"].words(), input_channels=1, num_classes=2, patch_size=PLANS["5 slices"].patch
    )
    assert network.network.encoder.stages[0][0][0].in_channels == 7
    assert network(SMALL.image()).shape == (1, 2, *SMALL.patch)
