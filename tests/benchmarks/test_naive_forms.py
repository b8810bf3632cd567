"""What the library saves changes nothing: every network against the same network as it is usually written."""

from __future__ import annotations

import copy

import pytest
import torch
from naive_forms import naive_forms
from torch import Tensor, nn

from tests.networks.contracts import all_outputs, every_row, home, trained, without_dropout
from tests.networks.tiny import gradients, kept_bytes

SAVES = {
    # row → the least that the usual form keeps, in multiples of the library's, on a tiny plan
    "hybrid": 1.5,
    "acc-unet": 3.0,
    "unetpp": 1.15,
}


def stirred(network: nn.Module) -> nn.Module:
    """Move every weight: norms begin at 1, branches at 0 or nearly so, which would hide mistakes."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def results(network: nn.Module, image: Tensor) -> list[Tensor]:
    outputs = all_outputs(network(image))
    learnt = [p for p in network.parameters() if p.requires_grad]
    total = torch.cat([output.flatten() for output in outputs])
    return [*outputs, *gradients(total, [image, *learnt])]


@every_row
def test_usual_form_has_the_same_values_and_gradients_in_float64(row: str) -> None:
    network = stirred(without_dropout(trained(row))).double()
    again = copy.deepcopy(network)  # running statistics move with every step
    image = home(row).image(batch=2).double().requires_grad_()
    ours = results(network, image)
    with naive_forms():
        usual = results(again, image)
    for one, other in zip(ours, usual, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("row", "least"), SAVES.items())
def test_usual_form_keeps_more(row: str, least: float) -> None:
    network, image = without_dropout(trained(row)), home(row).image()
    ours = kept_bytes(network, image)
    with naive_forms():
        assert kept_bytes(network, image) > least * ours


def test_forms_end_with_the_context() -> None:
    network, image = trained("hybrid"), home("hybrid").image()
    before = kept_bytes(network, image)
    with naive_forms():
        pass
    assert kept_bytes(network, image) == before
