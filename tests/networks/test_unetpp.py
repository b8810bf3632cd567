"""UNet++ against its definition; what every network promises is in test_contracts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.parts_conv import PartsConv
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.unetpp import SpineUNetPP, UNetPPOptions, paper_unetpp, pruned
from tests.networks.tiny import FLAT as FLAT_AXES
from tests.networks.tiny import PLANS, SMALL, TinyPlan, gradients, kept_bytes, layers, randomise, thick

FOUR = PLANS["2d"]
"""Four stages: nested networks of depth 1, 2 and 3."""
DEEP = PLANS["6 slices"]
"""Five stages."""


def unetpp(plan: TinyPlan = FOUR, *, deep_supervision: bool = False, **changed: Any) -> SpineUNetPP:
    torch.manual_seed(0)
    options = changed.pop("options", None)
    network = SpineUNetPP(
        input_channels=1, num_classes=3, deep_supervision=deep_supervision, options=options, **plan.words(**changed)
    )
    network.apply(network.initialize)
    return network


def concatenated(self: PartsConv, maps: list[Tensor]) -> Tensor:
    """The convolution as it is written down."""
    return self.conv(torch.cat(list(maps), dim=1))  # type: ignore[no-any-return]


def literal(network: SpineUNetPP, image: Tensor) -> list[Tensor]:
    """Logits of every depth, shallowest first: X(i, j) by its definition, recursively."""
    nodes, bottom = network.decoder.nodes, len(network.encoder.stages) - 1

    @cache
    def X(i: int, j: int) -> Tensor:
        if j == 0:
            return network.encoder.stages[i](image if i == 0 else X(i - 1, 0))  # type: ignore[no-any-return]
        node: Any = nodes[f"stage{i}_depth{i + j}"]
        everything = torch.cat([*(X(i, k) for k in range(j)), node.up(X(i + 1, j - 1))], dim=1)
        return node.rest(node.mix.conv(everything))  # type: ignore[no-any-return]

    return [head(X(0, j)) for j, head in zip(range(1, bottom + 1), network.decoder.seg_layers, strict=True)]


# ---- the grid ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ["2d", "halved through the plane", "isotropic"])
def test_equals_its_definition_in_values_and_gradients(plan: str) -> None:
    network = unetpp(PLANS[plan], deep_supervision=True).double()
    randomise(network)
    image = PLANS[plan].image().double().requires_grad_()
    outputs, expected = network(image), literal(network, image)[::-1]
    wanted = [image, *network.parameters()]
    for one, other in zip(outputs, expected, strict=True):
        torch.testing.assert_close(one, other)
    found = gradients(torch.stack(outputs), wanted)
    for one, other in zip(found, gradients(torch.stack(expected), wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_convolution_of_parts_is_the_convolution_of_all() -> None:
    torch.manual_seed(0)
    conv = PartsConv([2, 3, 1], 4, (3, 5), layers=layers(FLAT_AXES), bias=True).double()
    maps = [torch.randn(2, c, 7, 6, dtype=torch.float64, requires_grad=True) for c in (2, 3, 1)]
    expected = F.conv2d(torch.cat(maps, dim=1), conv.conv.weight, conv.conv.bias, padding=(1, 2))
    torch.testing.assert_close(conv(maps), expected)
    wanted = [*maps, *conv.parameters()]
    for one, other in zip(gradients(conv(maps), wanted), gradients(expected, wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_dense_nodes_keep_a_quarter_less_than_with_concatenations(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = unetpp(DEEP, deep_supervision=True), DEEP.image()
    ours = kept_bytes(network, image)
    monkeypatch.setattr(PartsConv, "forward", concatenated)
    assert ours < 0.75 * kept_bytes(network, image)


def test_number_of_inputs_of_each_node() -> None:
    # X(i, j) reads j maps of its row and one from below.
    network = unetpp(DEEP)
    found = {name: len(node.mix.parts) for name, node in network.decoder.nodes.items()}
    assert found == {f"stage{i}_depth{i + j}": j + 1 for i in range(4) for j in range(1, 5 - i)}


def test_kernels_and_strides_are_those_of_the_plan() -> None:
    plan = TinyPlan((6, 20, 24), [[1, 3, 3], [1, 5, 3], [3, 3, 3]], [[1, 1, 1], [1, 2, 3], [3, 2, 2]])
    network: Any = unetpp(plan, deep_supervision=True)
    nodes = network.decoder.nodes
    assert [nodes[f"stage0_depth{d}"].mix.conv.kernel_size for d in (1, 2)] == [(1, 3, 3)] * 2
    assert nodes["stage1_depth2"].mix.conv.kernel_size == (1, 5, 3)
    assert nodes["stage1_depth2"].up.stride == nodes["stage1_depth2"].up.kernel_size == (3, 2, 2)
    assert nodes["stage0_depth2"].up.stride == nodes["stage0_depth2"].up.kernel_size == (1, 2, 3)
    assert [stage[0][0].kernel_size for stage in network.encoder.stages] == [(1, 3, 3), (1, 5, 3), (3, 3, 3)]
    assert [tuple(o.shape[2:]) for o in network(plan.image())] == [(6, 20, 24)] * 2


def test_every_slice_reaches_the_bottom_where_slices_are_halved() -> None:
    plan = TinyPlan((8, 8, 8), [[1, 3, 3]] * 2, [[1, 1, 1], [2, 2, 2]])
    network = unetpp(plan, norm_op=None)
    image = plan.image().requires_grad_()
    (gradient,) = gradients(network.encoder(image, 1)[-1], [image])
    assert (gradient.abs().amax(dim=(0, 1, 3, 4)) > 0).all()


def test_convolutions_of_nodes_and_stages_are_counted_from_the_right_end() -> None:
    # Plans count decoder stages from the lowest resolution up.
    network = unetpp(n_conv_per_stage=[1, 2, 3, 4], n_conv_per_stage_decoder=[1, 2, 3])
    assert [len(stage) for stage in network.encoder.stages] == [1, 2, 3, 4]  # type: ignore[arg-type]
    nodes: Any = network.decoder.nodes
    assert {len(nodes[f"stage{i}_depth3"].rest) for i in (0,)} == {3}
    assert [len(nodes[f"stage{i}_depth3"].rest) for i in range(3)] == [3, 2, 1]


# ---- outputs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_all_outputs_have_the_full_resolution(plan: TinyPlan) -> None:
    outputs = unetpp(plan, deep_supervision=True)(plan.image())
    assert [tuple(o.shape) for o in outputs] == [(1, 3, *plan.patch)] * (len(plan.strides) - 1)


def test_outputs_come_deepest_first() -> None:
    # A stage of the encoder is seen by the outputs that are deep enough, and by no others.
    network = unetpp(deep_supervision=True, norm_op=None).eval()
    image = FOUR.image()
    before = network(image)
    for stage, seen_by in ((3, [True, False, False]), (2, [True, True, False]), (1, [True] * 3)):
        with torch.no_grad():
            conv: Any = network.encoder.stages[stage][0][0]  # type: ignore[index]
            conv.bias += 1
        after = network(image)
        assert [bool((a != b).any()) for a, b in zip(after, before, strict=True)] == seen_by
        before = after


def test_prediction_returns_the_first_output() -> None:
    network = unetpp(deep_supervision=True).eval()
    first = network(FOUR.image() * 0 + 1)[0]
    network.decoder.deep_supervision = False
    assert torch.equal(network(FOUR.image() * 0 + 1), first)


@pytest.mark.parametrize("plan", ["2d", "6 slices"])
def test_every_output_reaches_every_parameter_it_should(plan: str) -> None:
    network = unetpp(PLANS[plan], deep_supervision=True, conv_bias=False)
    outputs = network(PLANS[plan].image())
    for depth, output in zip(range(len(outputs), 0, -1), outputs, strict=True):
        network.zero_grad(set_to_none=True)
        output.square().mean().backward(retain_graph=True)
        trained = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
        expected = {
            name
            for name, _ in network.named_parameters()
            if not name.endswith("bias") and depth_needed(name) <= depth and "seg_layers" not in name
        } | {f"decoder.seg_layers.{depth - 1}.weight"}
        assert expected <= trained
        assert not any(depth_needed(name) > depth for name in trained)


def depth_needed(name: str) -> int:
    """The depth of the shallowest nested network that has a parameter."""
    part, _, rest = name.partition(".")
    fields = rest.split(".")
    if part == "encoder":
        return int(fields[1])
    return int(fields[1]) + 1 if fields[0] == "seg_layers" else int(fields[1].partition("depth")[2])


# ---- one branch, or their mean ---------------------------------------------------------------------------------------


@contextmanager
def forbidden(modules: list[nn.Module]) -> Iterator[None]:
    """Raise when any of the modules is called."""

    def fail(*_: object) -> None:
        raise AssertionError("computed what is not needed")

    hooks = [module.register_forward_pre_hook(fail) for module in modules]
    yield
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_branch_gives_exactly_its_output_and_computes_no_more(depth: int) -> None:
    network = unetpp(DEEP, deep_supervision=True).eval()
    image = DEEP.image()
    outputs = network(image)
    network.decoder.deep_supervision = False
    network.decoder.branch = depth
    nodes = dict(network.decoder.nodes.items())
    deeper = [
        *network.encoder.stages[depth + 1 :],
        *(node for name, node in nodes.items() if int(name.partition("depth")[2]) > depth),
        *(head for i, head in enumerate(network.decoder.seg_layers) if i != depth - 1),
    ]
    assert len(deeper) == (4 - depth) + sum(range(depth + 1, 5)) + 3
    with forbidden(deeper):
        assert torch.equal(network(image), outputs[4 - depth])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_pruned_network_is_smaller_and_predicts_as_the_branch(depth: int) -> None:
    network = unetpp(DEEP).eval()
    network.decoder.branch = depth
    small = pruned(network, depth)
    expected = network(DEEP.image() * 0 + 2)
    assert torch.equal(small(DEEP.image() * 0 + 2), expected)
    assert small.divisor == (1, 2**depth, 2**depth)
    names = {name for name, _ in network.named_parameters() if depth_needed(name) <= depth}
    assert {name for name, _ in small.named_parameters()} == names
    assert len(network.decoder.seg_layers) == 4  # as it was


def test_branch_may_be_chosen_in_the_plan() -> None:
    network, whole = unetpp(options={"branch": 1}).eval(), unetpp(deep_supervision=True).eval()
    image = FOUR.image()
    assert torch.equal(network(image), whole(image)[-1])
    # Training is of all outputs in any case.
    network.decoder.deep_supervision = True
    assert len(network(image)) == 3


def test_average_is_the_mean_of_the_logits() -> None:
    network, whole = unetpp(options={"average": True}).eval(), unetpp(deep_supervision=True).eval()
    image = FOUR.image()
    torch.testing.assert_close(network(image), torch.stack(whole(image)).mean(0))
    network.decoder.branch = 2
    torch.testing.assert_close(network(image), torch.stack(whole(image)[1:]).mean(0))


def test_a_branch_that_does_not_exist_is_refused() -> None:
    network = unetpp()
    with pytest.raises(NetworkPlanError, match=r"no branch of depth 4; there are \(1, 2, 3\)"):
        network.decoder.branch = 4
    with pytest.raises(NetworkPlanError, match="no branch of depth 4"):
        unetpp(options={"branch": 4})
    with pytest.raises(NetworkPlanError, match="no branch of depth 5"):
        pruned(network, 5)
    assert network.decoder.branch is None


# ---- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("nested", "depths"), [(0, [4]), (1, [1, 4]), (2, [1, 2, 4]), (3, [1, 2, 3, 4]),
                                                (9, [1, 2, 3, 4])])  # fmt: skip
def test_nesting_can_stop_at_a_depth(nested: int, depths: list[int]) -> None:
    network = unetpp(DEEP, deep_supervision=True, conv_bias=False, options={"max_nest_depth": nested})
    outputs = network(DEEP.image())
    assert list(network.decoder.depths) == depths
    assert [o.shape[2:] for o in outputs] == [torch.Size(DEEP.patch)] * len(depths)
    assert len(network.decoder.nodes) == sum(depths)
    torch.stack(outputs).square().mean().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in idle if not name.endswith("bias")] == []


def test_nothing_nested_is_a_plain_unet() -> None:
    network = unetpp(options={"max_nest_depth": 0}).eval()
    nodes: Any = network.decoder.nodes
    assert sorted(nodes) == [f"stage{i}_depth3" for i in range(3)]
    image = FOUR.image()
    features = network.encoder(image, 3)
    x = features[3]
    for i in (2, 1, 0):
        x = nodes[f"stage{i}_depth3"].rest(
            nodes[f"stage{i}_depth3"].mix.conv(torch.cat((features[i], nodes[f"stage{i}_depth3"].up(x)), dim=1))
        )
    torch.testing.assert_close(network(image), network.decoder.seg_layers[0](x))


def test_partial_nesting_reads_all_earlier_nodes_of_a_row() -> None:
    network: Any = unetpp(DEEP, options={"max_nest_depth": 2})
    found = {name: len(node.mix.parts) for name, node in network.decoder.nodes.items()}
    assert found == {
        "stage0_depth1": 2,
        "stage1_depth2": 2,
        "stage0_depth2": 3,
        "stage3_depth4": 2,
        "stage2_depth4": 2,
        "stage1_depth4": 3,
        "stage0_depth4": 4,
    }


def test_recomputing_changes_memory_and_nothing_else() -> None:
    image, results = DEEP.image(), []
    kept, again = unetpp(DEEP, deep_supervision=True), unetpp(DEEP, deep_supervision=True, options={"recompute": True})
    assert kept_bytes(again, image) < 0.5 * kept_bytes(kept, image)
    for network in (kept, again):
        outputs = torch.stack(network(image))
        results.append([outputs, *gradients(outputs, list(network.parameters()))])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_nodes_with_running_statistics_are_not_recomputed() -> None:
    network: Any = unetpp(norm_op=nn.BatchNorm2d, norm_op_kwargs={}, options={"recompute": True})
    assert not any(node.recompute for node in network.decoder.nodes.values())


def test_pooling_may_take_the_place_of_strides() -> None:
    network: Any = unetpp(SMALL, options={"down": "pool"})
    assert isinstance(network.encoder.stages[1][0], nn.MaxPool3d)
    assert {conv.stride for conv in network.encoder.modules() if isinstance(conv, nn.Conv3d)} == {(1, 1, 1)}
    assert network(SMALL.image()).shape == (1, 3, *SMALL.patch)


@pytest.mark.parametrize(("options", "said"), [({"max_nest_depth": -1}, "max_nest_depth is -1"),
                                               ({"branch": 0}, "branch is 0"), ({"down": "mean"}, "down is 'mean'"),
                                               ({"heads": "full"}, "heads='full'"),
                                               ({"patch_size": [16, 16]}, "patch_size has no effect")])  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(NetworkPlanError, match=said):
        UNetPPOptions.of(options)


def test_options_are_written_and_read_as_json() -> None:
    options = UNetPPOptions(down="pool", max_nest_depth=3, branch=2, average=True)
    assert UNetPPOptions.of(json.loads(json.dumps(options.as_json()))) == options


# ---- the published network -----------------------------------------------------------------------------------------


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def counted(depth: int, *, heads: int) -> int:
    """Weights of UNet++ L^depth, added up: 3x3 convolutions with bias, 2x2 transposed ones, 1x1 heads."""
    width = [32, 64, 128, 256, 512]

    def conv(inputs: int, outputs: int, taps: int) -> int:
        return inputs * outputs * taps + outputs

    encoder = sum(
        conv(1 if i == 0 else width[i - 1], width[i], 9) + conv(width[i], width[i], 9) for i in range(depth + 1)
    )
    grid = chain.from_iterable([(i, d - i) for i in range(d)] for d in range(1, depth + 1))
    nodes = sum(
        conv(width[i + 1], width[i], 4) + conv((j + 1) * width[i], width[i], 9) + conv(width[i], width[i], 9)
        for i, j in grid
    )
    return encoder + nodes + heads * conv(32, 1, 1)


@pytest.mark.parametrize(("depth", "millions"), [(1, 0.101), (2, 0.511), (3, 2.205), (4, 9.042)])
def test_published_sizes_of_the_pruned_networks(depth: int, millions: float) -> None:
    network = paper_unetpp()
    small = pruned(network, depth)
    assert parameters(small) == parameters(paper_unetpp(depth=depth)) == counted(depth, heads=depth)
    # A head more or less (33 weights) does not show in the published figures.
    assert round(parameters(small) / 1e6, 3) == millions
    assert small.eval()(torch.zeros(1, 1, 16, 16)).shape == (1, 1, 16, 16)


def test_the_published_size_is_that_with_four_heads() -> None:
    assert counted(4, heads=4) == 9_041_700


def test_eight_stages_have_28_nodes_and_7_outputs() -> None:
    with torch.device("meta"):
        network = unetpp(thick(4, 128, 128, stages=8), deep_supervision=True, features_per_stage=4)
        outputs = network(torch.empty(1, 1, 4, 128, 128))
    assert (len(network.decoder.nodes), len(outputs)) == (28, 7)
