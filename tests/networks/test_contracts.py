"""What every network of the registry promises, tested on every row (`-k <row>` picks one; all plans with -m slow).

Family u-shape follows a plan; family slice has stages of its own and takes 3D patches slice by slice.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.registry import NETWORKS, auxiliary_terms, build_preset
from nnunet_spine_ext.networks.slice_network import SliceNetwork
from nnunet_spine_ext.networks.slices import SliceWise
from tests.networks.contracts import (
    CLASSES,
    FLAT,
    SHRINK,
    all_outputs,
    every_row,
    every_row_and_plan,
    every_slice_network,
    every_u_shape,
    frozen,
    home,
    loss_of,
    output_sizes,
    representatives_quickly,
    tiny,
    trained,
    wake,
    without_dropout,
)
from tests.networks.tiny import PLANS, SMALL, TinyPlan

ODD = (90, 70)
"""No multiple of anything a network would like."""
OTHER = {2: (40, 24), 3: (3, 24, 20)}
"""Patches that nothing was planned for; the strides of the home plans divide them."""


def shapes(outputs: Any) -> list[tuple[int, ...]]:
    return [tuple(output.shape) for output in all_outputs(outputs)]


# ---- shapes ------------------------------------------------------------------------------------------------------


@every_row_and_plan
def test_outputs_have_the_sizes_that_are_scored_and_every_weight_learns(row: str, plan: TinyPlan) -> None:
    network = trained(row, plan)
    outputs = network(plan.image())
    if NETWORKS[row].family == "u-shape":
        assert isinstance(outputs, list)
        assert shapes(outputs) == [(1, CLASSES, *size) for size in output_sizes(row, plan)]
    else:
        channels = [CLASSES, *(CLASSES if term.kind == "seg" else 1 for term in network.aux)]  # type: ignore[union-attr]
        assert shapes(outputs) == [(1, c, *plan.patch) for c in channels]
    loss_of(outputs).backward()
    without_gradient = {name for name, p in network.named_parameters() if p.grad is None}
    assert without_gradient == frozen(network)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@every_row
def test_evaluation_gives_one_volume_of_raw_logits(row: str) -> None:
    network = tiny(row).eval()
    with torch.no_grad():
        logits = network(home(row).image(batch=2))
    assert isinstance(logits, Tensor)
    assert logits.shape == (2, CLASSES, *home(row).patch)
    # Neither probabilities nor their logarithms.
    assert not ((logits >= 0) & (logits <= 1)).all()
    ones = torch.ones_like(logits[:, 0])
    assert not torch.allclose(logits.sum(1), ones, atol=1e-3)
    assert not torch.allclose(logits.exp().sum(1), ones, atol=1e-3)


@every_u_shape
def test_image_that_the_strides_do_not_divide_is_refused_with_the_divisor(row: str) -> None:
    size = (5, 18, 16) if home(row) is SMALL else (40, 36)
    try:
        logits = tiny(row).eval()(torch.randn(1, 1, *size))
    except NetworkPlanError as error:
        divisor = r"(1, 4, 4)" if home(row) is SMALL else r"(8, 8)"
        assert str(size) in str(error)
        assert f"multiple of {divisor}" in str(error)
    else:
        assert logits.shape == (1, CLASSES, *size)


@every_row
def test_takes_another_patch_than_it_was_planned_for_or_says_that_it_cannot(row: str) -> None:
    size = OTHER[len(home(row).patch)]
    try:
        logits = tiny(row).eval()(torch.randn(1, 1, *size))
    except NetworkPlanError as error:
        assert NETWORKS[row].family == "slice"
        # Tied to the patch it was built for: the message must name it, and what came.
        for sizes in (home(row).patch, size):
            assert all(str(n) in str(error) for n in sizes)
    else:
        assert logits.shape == (1, CLASSES, *size)


@every_slice_network
@pytest.mark.parametrize("size", [ODD, (33, 47)])
def test_slices_of_any_size_come_back_at_their_size(row: str, size: tuple[int, int]) -> None:
    image = torch.randn(1, 1, *size)
    network = tiny(row, FLAT, patch=size)
    assert shapes(network.train()(image)) == [(1, c, *size) for c in _channels(row)]
    assert shapes(network.eval()(image)) == [(1, CLASSES, *size)]


@every_row
def test_takes_a_3d_patch_on_a_2d_plan_slice_by_slice(row: str) -> None:
    """The configuration 25d: nnU-Net's words of 2d, and a patch of several slices."""
    if 2 not in NETWORKS[row].dims:
        pytest.skip(f"{row} has no 2D form")
    patch = (3, *FLAT.patch)
    network = trained(row, FLAT, patch=patch)
    outputs = network(torch.randn(1, 1, *patch))
    loss_of(outputs).backward()
    assert {name for name, p in network.named_parameters() if p.grad is None} == frozen(network)
    with torch.no_grad():
        logits = tiny(row, FLAT, patch=patch).eval()(torch.randn(2, 1, *patch))
    assert logits.shape == (2, CLASSES, *patch)
    assert logits.is_contiguous()  # nnU-Net adds up overlapping predictions in place


# ---- several outputs ---------------------------------------------------------------------------------------------


@every_u_shape
def test_deep_supervision_is_a_switch_read_at_every_call(row: str) -> None:
    network = tiny(row, deep_supervision=True).eval()
    image = home(row).image()
    outputs = network(image)
    assert shapes(outputs) == [(1, CLASSES, *size) for size in output_sizes(row, home(row))]
    network.decoder.deep_supervision = False  # type: ignore[union-attr]
    alone = network(image)
    assert isinstance(alone, Tensor)
    torch.testing.assert_close(alone, outputs[0])
    network.decoder.deep_supervision = True  # type: ignore[union-attr]
    assert len(network(image)) == len(outputs)


@every_slice_network
def test_further_outputs_are_given_in_training_alone_and_are_those_of_the_terms(row: str) -> None:
    network = trained(row)
    terms = auxiliary_terms(row, SHRINK.get(row, {}))
    assert network.aux == terms
    outputs = network(home(row).image())
    assert isinstance(outputs, list) is bool(terms)
    assert [output.shape[1] for output in all_outputs(outputs)] == _channels(row)
    assert isinstance(network.eval()(home(row).image()), Tensor)


def _channels(row: str) -> list[int]:
    terms = auxiliary_terms(row, SHRINK.get(row, {}))
    return [CLASSES, *(CLASSES if term.kind == "seg" else 1 for term in terms)]


@every_row
def test_what_was_trained_loads_strictly_and_predicts_the_same(row: str) -> None:
    training = trained(row, seed=1)
    with torch.no_grad():
        training(home(row).image(batch=2))  # running statistics that are not those of a fresh network
    predicting = tiny(row, seed=2).eval()
    predicting.load_state_dict(training.state_dict(), strict=True)
    image = home(row).image()
    with torch.no_grad():
        expected = all_outputs(training.eval()(image))[0]
        torch.testing.assert_close(predicting(image), expected)


@every_row
def test_state_does_not_depend_on_deep_supervision(row: str) -> None:
    states = [tiny(row, deep_supervision=flag).state_dict() for flag in (False, True)]
    sizes = [{key: tuple(value.shape) for key, value in state.items()} for state in states]
    assert sizes[0] == sizes[1]
    # nnU-Net's -pretrained_weights leaves the heads out by this name.
    assert any("seg_layers." in key for key in states[0])


# ---- gradients ---------------------------------------------------------------------------------------------------


@every_row
def test_no_weight_is_without_a_gradient(row: str) -> None:
    # Without biases: a norm after the convolution cancels them. What starts at 0 gets a value, so that branches count.
    network = wake(without_dropout(trained(row, conv_bias=False)))
    loss_of(network(home(row).image(batch=2))).backward()
    idle = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    assert [name for name in idle - frozen(network) if not name.endswith("bias")] == []


@every_row
def test_frozen_weights_are_the_ones_that_the_class_names(row: str) -> None:
    network = trained(row)
    assert {name for name, p in network.named_parameters() if not p.requires_grad} == frozen(network)


@every_row
def test_images_of_a_batch_do_not_affect_one_another(row: str) -> None:
    network = tiny(row).eval()
    batch = home(row).image(batch=2)
    with torch.no_grad():
        torch.testing.assert_close(network(batch)[1:], network(batch[1:]), atol=1e-4, rtol=1e-4)


# ---- numbers -----------------------------------------------------------------------------------------------------


def _check_finite(network: torch.nn.Module, image: Tensor) -> None:
    outputs = network(image)
    loss_of(outputs).backward()
    assert all(torch.isfinite(output).all() for output in all_outputs(outputs))
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@every_row
@pytest.mark.parametrize("value", [0.0, -1e4, 1e4])
def test_constant_images_give_finite_logits_and_gradients(row: str, value: float) -> None:
    _check_finite(trained(row), torch.full((1, 1, *home(row).patch), value))


@every_row
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_bfloat16_gives_finite_logits_and_gradients(row: str, scale: float) -> None:
    # 12 slices: for a kernel of 7 on 4 or 5, torch's own bfloat16 weight gradient on CPUs reads memory never written.
    plan = PLANS["12 slices"] if 3 in NETWORKS[row].dims else FLAT
    network = trained(row, plan)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _check_finite(network, scale * plan.image())


@every_row
def test_evaluation_is_deterministic_and_changes_nothing(row: str) -> None:
    network = tiny(row).eval()
    before = copy.deepcopy(network.state_dict())
    image = home(row).image()
    with torch.no_grad():
        assert torch.equal(network(image), network(image))
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())


# ---- tools -------------------------------------------------------------------------------------------------------


@every_row
def test_survives_pickling_and_copying(row: str) -> None:
    network = tiny(row).eval()
    image = home(row).image()
    with torch.no_grad():
        expected = network(image)
        for copied in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
            assert torch.equal(copied(image), expected)


@representatives_quickly
def test_compiles_into_one_graph_with_equal_gradients(row: str) -> None:
    torch._dynamo.reset()
    network = without_dropout(trained(row))
    other = copy.deepcopy(network)  # training changes running statistics
    image = home(row).image(batch=2)
    eager = all_outputs(network(image))
    compiled = all_outputs(torch.compile(other, fullgraph=True, backend="aot_eager")(image))
    for one, expected in zip(compiled, eager, strict=True):
        torch.testing.assert_close(one, expected, atol=1e-4, rtol=1e-4)
    loss_of(eager).backward()
    loss_of(compiled).backward()
    for (name, weight), one in zip(network.named_parameters(), other.parameters(), strict=True):
        if weight.requires_grad:
            torch.testing.assert_close(one.grad, weight.grad, atol=1e-3, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(other.get_buffer(name), buffer, atol=1e-4, rtol=1e-4)


@representatives_quickly
def test_exports_for_prediction(row: str) -> None:
    network = tiny(row).eval()
    image = home(row).image()
    exported = torch.export.export(network, (image,)).module()
    torch.testing.assert_close(exported(image), network(image))


# ---- the row itself ----------------------------------------------------------------------------------------------

ORACLES = [
    pytest.param(row.name, oracle, id=f"{row.name}-{oracle.what}")
    for row in NETWORKS.values()
    for oracle in row.oracles
]


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
    assert entry.family == "u-shape" or entry.dims == (2,)


@every_row
def test_class_is_of_its_family(row: str) -> None:
    network = tiny(row, FLAT if 2 in NETWORKS[row].dims else SMALL)
    inner = network.network if isinstance(network, SliceWise) else network
    assert isinstance(inner, SliceNetwork) == (NETWORKS[row].family == "slice")
