"""What every network of the registry promises, tested on every row."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.registry import NETWORKS, build, build_preset
from tests.networks.tiny import PLANS, SMALL, TinyPlan

# Options that shrink a row whose widths are its own.
SHRINK: dict[str, dict[str, Any]] = {"hybrid-paper": {"width": 4}}
CLASSES = 3

ROWS = list(NETWORKS)
ROWS_AND_PLANS = [
    pytest.param(row, plan, id=f"{row}-{name}")
    for row in ROWS
    for name, plan in PLANS.items()
    if len(plan.patch) in NETWORKS[row].dims
]
every_row = pytest.mark.parametrize("row", ROWS)
# Compiling takes seconds a network: by default one of each set of blocks, all with -m slow.
SAME_BLOCKS = {"hybrid-no-hanc", "hybrid-no-ux", "hybrid-res"}
every_set_of_blocks = pytest.mark.parametrize(
    "row", [pytest.param(row, marks=pytest.mark.slow) if row in SAME_BLOCKS else row for row in ROWS]
)


def tiny(
    row: str, plan: TinyPlan = SMALL, *, deep_supervision: bool = False, seed: int = 0, **changed: Any
) -> nn.Module:
    torch.manual_seed(seed)
    words = {**plan.words(**changed), "options": SHRINK.get(row, {})}
    network = build(row, words, input_channels=1, num_classes=CLASSES, deep_supervision=deep_supervision)
    network.apply(network.initialize)
    return network


def loss_of(outputs: Tensor | list[Tensor]) -> Tensor:
    """Cross-entropy with random targets, summed over resolutions; no symmetry that would cancel gradients."""
    torch.manual_seed(7)
    total = torch.zeros(())
    for logits in outputs if isinstance(outputs, list) else [outputs]:
        target = torch.randint(0, CLASSES, (logits.shape[0], *logits.shape[2:]))
        total = total + nn.functional.cross_entropy(logits.float(), target)
    return total


def scaled(plan: TinyPlan) -> list[tuple[int, ...]]:
    """The sizes at which nnU-Net scores a plan: the patch over the cumulative strides, without the last stage."""
    totals = [
        tuple(math.prod(axis) for axis in zip(*plan.strides[: s + 1], strict=True)) for s in range(len(plan.strides))
    ]
    return [tuple(p // t for p, t in zip(plan.patch, total, strict=True)) for total in totals[:-1]]


@pytest.mark.parametrize(("row", "plan"), ROWS_AND_PLANS)
def test_outputs_have_nnunets_sizes_and_every_weight_learns(row: str, plan: TinyPlan) -> None:
    network = tiny(row, plan, deep_supervision=True)
    outputs = network(plan.image())
    assert isinstance(outputs, list)
    assert [tuple(o.shape) for o in outputs] == [(1, CLASSES, *size) for size in scaled(plan)]
    loss_of(outputs).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@every_row
def test_no_weight_is_without_a_gradient(row: str) -> None:
    # Without the biases before a norm, which it cancels.
    network = tiny(row, deep_supervision=True, conv_bias=False).double()
    loss_of(network(SMALL.image().double())).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@every_row
def test_deep_supervision_is_a_switch_read_at_every_call(row: str) -> None:
    network = tiny(row, deep_supervision=True).eval()
    image = SMALL.image()
    outputs = network(image)
    network.decoder.deep_supervision = False  # type: ignore[union-attr]
    alone = network(image)
    assert isinstance(alone, Tensor)
    torch.testing.assert_close(alone, outputs[0])


@every_row
def test_state_does_not_depend_on_deep_supervision_or_training(row: str) -> None:
    trained = tiny(row, deep_supervision=True, seed=1)
    predicting = tiny(row, seed=2).eval()
    predicting.load_state_dict(trained.state_dict(), strict=True)
    image = SMALL.image()
    torch.testing.assert_close(predicting(image), trained.eval()(image)[0])
    assert any(".seg_layers." in key for key in trained.state_dict())


@every_row
def test_image_that_the_strides_do_not_divide_is_refused_with_the_divisor(row: str) -> None:
    with pytest.raises(NetworkPlanError, match=r"\(5, 18, 16\).*multiple of \(1, 4, 4\)"):
        tiny(row)(torch.randn(1, 1, 5, 18, 16))


@every_row
def test_takes_another_patch_than_it_was_planned_for(row: str) -> None:
    assert tiny(row)(torch.randn(1, 1, 3, 24, 20)).shape == (1, CLASSES, 3, 24, 20)


@every_row
def test_images_of_a_batch_do_not_affect_one_another(row: str) -> None:
    network = tiny(row).eval()
    batch = SMALL.image(batch=2)
    torch.testing.assert_close(network(batch)[1:], network(batch[1:]), atol=1e-5, rtol=1e-4)


@every_row
@pytest.mark.parametrize("value", [0.0, -1e4, 1e4])
def test_constant_images_give_finite_logits_and_gradients(row: str, value: float) -> None:
    network = tiny(row)
    logits = network(torch.full((1, 1, *SMALL.patch), value))
    loss_of(logits).backward()
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@every_row
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_bfloat16_gives_finite_logits_and_gradients(row: str, scale: float) -> None:
    # 12 slices: for a kernel of 7 on 4 or 5, torch's own bfloat16 weight gradient on CPUs reads memory never written.
    network = tiny(row, PLANS["12 slices"]).bfloat16()
    logits = network((scale * PLANS["12 slices"].image()).bfloat16())
    loss_of(logits).backward()
    assert logits.dtype == torch.bfloat16
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@every_row
def test_evaluation_is_deterministic_and_changes_nothing(row: str) -> None:
    network = tiny(row).eval()
    before = copy.deepcopy(network.state_dict())
    image = SMALL.image()
    with torch.no_grad():
        assert torch.equal(network(image), network(image))
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())


@every_row
def test_survives_pickling(row: str) -> None:
    network = tiny(row).eval()
    image = SMALL.image()
    assert torch.equal(pickle.loads(pickle.dumps(network))(image), network(image))


@every_set_of_blocks
def test_compiles_into_one_graph_with_equal_gradients(row: str) -> None:
    torch._dynamo.reset()
    network = tiny(row, deep_supervision=True)
    image = SMALL.image()
    wanted = list(network.parameters())
    eager = network(image)
    expected = torch.autograd.grad(loss_of(eager), wanted)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")(image)
    for one, other in zip(compiled, eager, strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(torch.autograd.grad(loss_of(compiled), wanted), expected, strict=True):
        torch.testing.assert_close(one, other)


@every_set_of_blocks
def test_exports_for_prediction(row: str) -> None:
    network = tiny(row).eval()
    image = SMALL.image()
    torch.testing.assert_close(torch.export.export(network, (image,)).module()(image), network(image))


ORACLES = [pytest.param(row.name, oracle, id=oracle.what) for row in NETWORKS.values() for oracle in row.oracles]


@pytest.mark.parametrize(("row", "oracle"), ORACLES)
def test_papers_own_form_has_the_stated_size(row: str, oracle: Any) -> None:
    with torch.device("meta"):
        network = build_preset(row, oracle.arguments)
    assert sum(p.numel() for p in network.parameters()) == oracle.parameters


@every_row
def test_row_is_complete(row: str) -> None:
    entry = NETWORKS[row]
    assert entry.name == row
    assert entry.paper
    assert entry.cite
    assert entry.summary
    assert entry.trainers
    assert (entry.preset is not None) == bool(entry.oracles)
