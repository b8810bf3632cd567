"""Inf-Net: its outputs, and what can be left out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nnunet_spine_ext.networks.infnet import InfNet, InfNetOptions
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.slice_network import AuxTerm
from tests.networks.shrink_attention import SHRINK


def infnet(*, classes: int = 3, **options: Any) -> InfNet:
    torch.manual_seed(0)
    return InfNet(input_channels=1, num_classes=classes, options={**SHRINK["infnet"], **options})


def slices() -> Tensor:
    return torch.randn(2, 1, 96, 64, generator=torch.Generator().manual_seed(1))


def test_outputs_are_the_prediction_then_the_coarser_ones_then_the_edges() -> None:
    network = infnet().eval()
    image = slices()
    _, x1, x2, x3, x4 = network.encoder(image)
    coarse = network.coarse(*(field(x) for field, x in zip(network.fields, (x2, x3, x4), strict=True)))
    assert network.edge is not None
    assert network.edge_head is not None
    edge = network.edge(x1)
    s4 = network.refinements[0](x4, coarse, edge)
    s3 = network.refinements[1](x3, s4, edge)
    s2 = network.refinements[2](x2, s3, edge)
    sizes = [tuple(s.shape[2:]) for s in (s2, s3, s4, coarse, edge)]
    assert sizes == [(12, 8), (6, 4), (3, 2), (12, 8), (24, 16)]
    torch.testing.assert_close(network(image), torch.nn.functional.interpolate(s2, size=(96, 64), mode="bilinear"))
    network.training = True  # the list of outputs, without batch statistics
    outputs = network(image)
    for found, wanted in zip(outputs, (s2, s3, s4, coarse, network.edge_head(edge)), strict=True):
        expected = torch.nn.functional.interpolate(wanted, size=(96, 64), mode="bilinear")
        torch.testing.assert_close(found, expected)


def test_terms_say_what_the_outputs_are() -> None:
    assert InfNet.auxiliary({}) == (AuxTerm("seg", 1.0),) * 3 + (AuxTerm("edge", 1.0),)
    assert InfNet.auxiliary({"edge": False}) == (AuxTerm("seg", 1.0),) * 3
    assert InfNet.auxiliary({"aux": False}) == ()


@pytest.mark.parametrize("options", [{}, {"aux": False}, {"edge": False}, {"attention": "none"}])
def test_every_weight_is_used_in_training(options: dict[str, Any]) -> None:
    network = infnet(**options).train()
    outputs = network(slices())
    total = sum(o.square().sum() for o in (outputs if isinstance(outputs, list) else [outputs]))
    assert isinstance(total, Tensor)
    total.backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_only_the_edges_head_is_for_training_alone() -> None:
    gone = infnet().state_dict().keys() - infnet(aux=False).state_dict().keys()
    assert {key.split(".")[0] for key in gone} == {"edge_head"}


def test_weight_of_the_reverse_attention_has_no_weights_of_its_own() -> None:
    with_it, without = infnet().eval(), infnet(attention="none").eval()
    without.load_state_dict(with_it.state_dict(), strict=True)
    with torch.no_grad():
        assert not torch.allclose(with_it(slices()), without(slices()))


def test_one_logit_is_one_structure() -> None:
    outputs = infnet(classes=1).train()(slices())
    assert [o.shape[1] for o in outputs] == [1] * 5
    assert all(torch.isfinite(o).all() for o in outputs)


def test_wrong_options_are_named() -> None:
    with pytest.raises(NetworkPlanError, match=r"width is 0.*edge is 1, expected true or false"):
        InfNetOptions(edge=1, width=0)  # type: ignore[arg-type]
