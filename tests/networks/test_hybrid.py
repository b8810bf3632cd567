"""SpineHybrid on plans: what its words and options mean. The promises of every network are in test_contracts."""

from __future__ import annotations

import json
import logging
import pydoc
from typing import Any

import pytest
import torch
from torch import nn

from nnunet_spine_ext.networks.blocks.layers import GroupNorm1
from nnunet_spine_ext.networks.blocks.ux import UXBlock
from nnunet_spine_ext.networks.hybrid import SpineHybrid
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from tests.networks.tiny import PLANS, SMALL, TinyPlan, gradients, kept_bytes, randomise, thick


def hybrid(
    plan: TinyPlan = SMALL, *, deep_supervision: bool = False, options: Any = None, **changed: Any
) -> SpineHybrid:
    torch.manual_seed(0)
    network = SpineHybrid(
        input_channels=1, num_classes=3, deep_supervision=deep_supervision, options=options, **plan.words(**changed)
    )
    network.apply(network.initialize)
    return network


def modules(network: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [m for m in network.modules() if isinstance(m, kind)]


def test_stock_trainer_can_build_it_from_a_plans_file() -> None:
    # As nnU-Net does: JSON, dotted paths, three arguments beside the file's, then apply(initialize).
    dotted = {"conv_op": "torch.nn.modules.conv.Conv3d", "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
              "nonlin": "torch.nn.LeakyReLU"}  # fmt: skip
    options = {"plane_block": "res", "link_block": "identity", "thickness": [3, 5]}
    file = json.loads(json.dumps({**SMALL.words(**dotted), "options": options}))
    for word in ("conv_op", "norm_op", "dropout_op", "nonlin"):
        file[word] = None if file[word] is None else pydoc.locate(file[word])
    network_class: Any = pydoc.locate("nnunet_spine_ext.networks.hybrid.SpineHybrid")
    network = network_class(input_channels=2, num_classes=4, deep_supervision=True, **file)
    network.apply(network.initialize)
    assert [tuple(o.shape) for o in network(SMALL.image(channels=2))] == [(1, 4, 5, 16, 16), (1, 4, 5, 8, 8)]
    assert network.options.link_block == "identity"


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_full_resolution_stem_has_the_same_outputs_and_no_dead_weight(plan: TinyPlan) -> None:
    network = hybrid(plan, deep_supervision=True, options={"stem": "fullres"}, conv_bias=False).double()
    outputs = network(plan.image().double())
    strided = hybrid(plan, deep_supervision=True)(plan.image())
    assert [o.shape for o in outputs] == [o.shape for o in strided]
    sum(((o**2).mean() for o in outputs), torch.zeros(())).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_full_resolution_stem_adds_a_stage_and_its_link() -> None:
    assert len(hybrid(options={"stem": "fullres"}).links) == len(hybrid().links) + 1 == 3


def test_through_plane_axis_may_be_any() -> None:
    # The same weights on the same image, its slices once on axis 0 and once on axis 2.
    first = hybrid(thick(5, 16, 24, stages=3), deep_supervision=True).eval()
    last_plan = TinyPlan((16, 24, 5), [[3, 3, 1], [3, 3, 1], [3, 3, 3]], [[1, 1, 1], [2, 2, 1], [2, 2, 1]])
    last = hybrid(last_plan, deep_supervision=True).eval()
    randomise(first)
    last.load_state_dict(first.state_dict())
    image = torch.randn(1, 1, 5, 16, 24)
    for one, other in zip(first(image), last(image.movedim(2, -1)), strict=True):
        torch.testing.assert_close(one, other.movedim(-1, 2))
    first.decoder.deep_supervision = last.decoder.deep_supervision = False
    torch.testing.assert_close(first(image), last(image.movedim(2, -1)).movedim(-1, 2))


def test_every_slice_reaches_the_bottleneck_where_slices_are_halved() -> None:
    # Without norms, whose statistics see every slice, and without the shortcuts, whose pooling does.
    plan = PLANS["halved through the plane"]
    network = hybrid(plan, norm_op=None)
    for down in network.encoder.downs:
        down.shortcut = nn.Sequential(*down.shortcut, nn.Threshold(float("inf"), 0.0))
    image = plan.image().requires_grad_()
    (gradient,) = gradients(network.encoder(image)[-1], [image])
    assert (gradient.abs().amax(dim=(0, 1, 3, 4)) > 0).all()


def test_first_stage_works_in_the_plane_and_its_link_across_slices() -> None:
    plan = thick(12, 16, 16, stages=3)
    network = hybrid(plan, norm_op=None).eval()
    randomise(network)
    image = plan.image()
    changed = image.clone()
    changed[:, :, 0] += 1

    def slices_that_differ(path: nn.Module) -> list[bool]:
        return (path(changed) != path(image)).any(dim=4).any(dim=3).any(dim=1)[0].tolist()  # type: ignore[no-any-return]

    stem, plane, link = network.encoder.stem, network.encoder.planes[0], network.links[0]
    assert slices_that_differ(nn.Sequential(stem, plane)) == [True] + [False] * 11
    assert slices_that_differ(nn.Sequential(stem, link)) == [True] * 4 + [False] * 8


@pytest.mark.parametrize(("convs", "blocks"), [(1, 1), (2, 1), (3, 2), (4, 2), (12, 6)])
def test_plane_block_stands_for_two_convolutions(convs: int, blocks: int) -> None:
    network = hybrid(n_conv_per_stage=convs)
    assert [len(stage) for stage in network.encoder.planes] == [blocks]


@pytest.mark.parametrize(("convs", "kernels"), [(1, 1), (2, 1), (3, 2)])
def test_decoder_counts_the_transposed_convolution(convs: int, kernels: int) -> None:
    network = hybrid(n_conv_per_stage_decoder=convs)
    for up in network.decoder.ups:
        assert len(modules(up.main, nn.Conv3d)) == kernels
        assert len(modules(up.main, nn.ConvTranspose3d)) == 1


def test_words_about_layers_are_obeyed() -> None:
    network = hybrid(
        norm_op=nn.BatchNorm3d, norm_op_kwargs={"eps": 1e-3}, nonlin=nn.SiLU, nonlin_kwargs={}, dropout_op=nn.Dropout3d,
        dropout_op_kwargs={"p": 0.25},
    )  # fmt: skip
    assert {norm.eps for norm in modules(network, nn.BatchNorm3d)} == {1e-3}
    assert not modules(network, nn.InstanceNorm3d)
    assert not modules(network, nn.LeakyReLU)
    assert modules(network, nn.SiLU)
    assert {drop.p for drop in modules(network, nn.Dropout3d)} == {0.25}
    # One for each norm, and one for the branch of each UX block.
    assert len(modules(network, nn.Dropout3d)) == len(modules(network, nn.BatchNorm3d)) + len(modules(network, UXBlock))


def test_bias_before_a_norm_is_the_plans_choice_and_elsewhere_always_there() -> None:
    without, with_bias = hybrid(conv_bias=False), hybrid(conv_bias=True)
    assert without.encoder.stem[0].bias is None
    assert with_bias.encoder.stem[0].bias is not None
    assert all(head.bias is not None for head in without.decoder.seg_layers)
    assert all(up.shortcut.bias is not None for up in without.decoder.ups)


def test_paper_choices_replace_the_plans_layers() -> None:
    network = hybrid(options={"norm": "group1", "activation": "gelu", "width": 4, "stem_norm": False, "stem_kernel": 9})
    assert modules(network, GroupNorm1)
    assert not modules(network, nn.InstanceNorm3d)
    assert not modules(network, nn.LeakyReLU)
    assert isinstance(network.encoder.stem, nn.Conv3d)
    assert network.encoder.stem.kernel_size == (1, 9, 9)
    assert [head.in_channels for head in network.decoder.seg_layers] == [4, 4]
    assert network.links[-1].mix.out_channels == 8


def test_widths_of_the_paper_stop_at_sixteen_times() -> None:
    with torch.device("meta"):
        network = hybrid(thick(4, 128, 128, stages=8), features_per_stage=8, options={"width": 2})
    assert [link.mix.out_channels for link in network.links] == [2, 4, 8, 16, 32, 32, 32]


@pytest.mark.parametrize(("plan", "said"), [("isotropic", "without a through-plane axis"), ("2d", "2D plan"),
                                            ("6 slices", "through-plane axis 0")])  # fmt: skip
def test_reading_of_the_axes_is_logged(plan: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="nnunet_spine_ext"):
        hybrid(PLANS[plan])
    assert said in caplog.text


def test_isotropic_plan_has_cubic_kernels_unless_the_axis_is_forced() -> None:
    cubic, forced = hybrid(PLANS["isotropic"]), hybrid(PLANS["isotropic"], options={"force_hybrid": True})
    assert modules(cubic, UXBlock)[0].conv.kernel_size == (7, 7, 7)
    assert modules(forced, UXBlock)[0].conv.kernel_size == (1, 7, 7)
    assert forced.encoder.stem[0].kernel_size == (3, 7, 7)  # 3 where the stem strides


@pytest.mark.parametrize("options", [{}, {"ux_variant": "dense", "hanc_form": "dense"}], ids=["separable", "dense"])
def test_recomputing_changes_memory_and_nothing_else(options: dict[str, Any]) -> None:
    plan = PLANS["4 slices"]
    image = plan.image().double()
    kept = hybrid(plan, options={**options, "recompute": False}).double()
    recomputed = hybrid(plan, options=options).double()
    assert kept_bytes(recomputed, image) < 0.7 * kept_bytes(kept, image)
    results = []
    for network in (kept, recomputed):
        logits = network(image)
        results.append([logits, *gradients(logits, [*network.encoder.parameters(), *network.links.parameters()])])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_wrong_numbers_of_convolutions_are_refused() -> None:
    with pytest.raises(NetworkPlanError, match="n_conv_per_stage_decoder"):
        hybrid(n_conv_per_stage_decoder=[2, 2, 2])


def test_smallest_network_has_two_stages() -> None:
    network = hybrid(thick(3, 8, 8, stages=2), deep_supervision=True)
    assert [tuple(o.shape) for o in network(torch.randn(1, 1, 3, 8, 8))] == [(1, 3, 3, 8, 8)]
