"""PSANet: built for one size of slices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.psanet import PSANet, PSANetOptions
from tests.networks.shrink_attention import SHRINK


def psanet(*patch: int, **options: Any) -> PSANet:
    torch.manual_seed(0)
    return PSANet(input_channels=1, num_classes=3, patch_size=patch, options={**SHRINK["psanet"], **options})


@pytest.mark.parametrize(
    ("patch", "stride", "places"),
    # Half of the map, rounded up twice: 64 -> 8 -> 4, 48 -> 6 -> 3; 90 -> 12 -> 6, 70 -> 9 -> 5; 33 and 47 -> 3 -> 2.
    [((64, 48), 8, 7 * 5), ((90, 70), 8, 11 * 9), ((33, 47), 16, 3 * 3)],
)
def test_channels_of_attention_follow_from_the_patch(patch: tuple[int, int], stride: int, places: int) -> None:
    network = psanet(*patch, output_stride=stride)
    assert {one.attention[1].weight.shape[0] for one in network.attention} == {places}  # type: ignore[index,union-attr]
    assert network.eval()(torch.zeros(1, 1, *patch)).shape == (1, 3, *patch)


@pytest.mark.parametrize("training", [True, False])
def test_slices_of_another_size_are_refused_with_both_sizes(training: bool) -> None:
    network = psanet(64, 48).train(training)
    with pytest.raises(NetworkPlanError, match=r"PSANet was built for slices of \(64, 48\) and got \(48, 64\)"):
        network(torch.zeros(1, 1, 48, 64))


@pytest.mark.parametrize("patch", [(), (4, 64, 64), (64,), (0, 64)])
def test_patch_must_be_that_of_a_slice(patch: tuple[int, ...]) -> None:
    with pytest.raises(NetworkPlanError, match=r"patch_size=\(height, width\)"):
        psanet(*patch)


def test_a_single_value_to_normalise_is_refused_in_words() -> None:
    network = psanet(16, 16).train()
    with pytest.raises(NetworkPlanError, match="one position for the attention"):
        network(torch.randn(1, 1, 16, 16))
    assert len(network(torch.randn(2, 1, 16, 16))) == 2
    assert len(psanet(16, 16, norm="group", width=64).train()(torch.randn(1, 1, 16, 16))) == 2
    assert isinstance(network.eval()(torch.randn(1, 1, 16, 16)), Tensor)


@pytest.mark.parametrize(
    ("attention", "directions"),
    [("both", ["collect", "distribute"]), ("collect", ["collect"]), ("distribute", ["distribute"]), ("none", [])],
)
def test_directions_can_be_left_out(attention: str, directions: list[str]) -> None:
    network = psanet(64, 48, attention=attention)
    assert [one.direction for one in network.attention] == directions
    main, _ = network.train()(torch.randn(2, 1, 64, 48))
    assert main.shape == (2, 3, 64, 48)
    main.sum().backward()
    head = [name for name, p in network.named_parameters() if p.grad is None]
    assert all(name.startswith("aux_head") for name in head)


def test_wrong_options_are_named() -> None:
    with pytest.raises(NetworkPlanError, match=r"attention is 'send'.*width is 1\.5"):
        PSANetOptions(attention="send", width=1.5)  # type: ignore[arg-type]
