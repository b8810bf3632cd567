"""DenseASPP against an explicit loop, and its size term by term; what every network promises is in test_contracts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnunet_spine_ext.networks.denseaspp import (
    RATES,
    DenseASPP,
    DenseASPPOptions,
    DenselyDilated,
    paper_denseaspp,
)
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from tests.networks.tiny import kept_bytes, randomise

SMALL: dict[str, Any] = {"encoder": "test_resnet", "inner_width": 8, "growth": 4}
DENSENET169, FINAL_NORM = 12_478_208, 2 * 1664
CLASSES = 20


def small(**options: Any) -> DenseASPP:
    torch.manual_seed(0)
    return DenseASPP(input_channels=1, num_classes=3, options={**SMALL, **options})


def weights(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def options(**changed: Any) -> DenseASPPOptions:
    return DenseASPPOptions.of({**SMALL, **changed})


def test_dilated_layers_are_the_explicit_loop() -> None:
    torch.manual_seed(0)
    block: Any = DenselyDilated(6, options=options()).double().eval()
    randomise(block)
    x = torch.randn(1, 6, 8, 7, dtype=torch.float64)
    before = x.clone()
    scale = (1 + 1e-5) ** -0.5  # of a BatchNorm whose running statistics are 0 and 1

    def normed(values: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
        return values * scale * norm.weight[:, None, None] + norm.bias[:, None, None]

    running = x
    for i, (layer, rate) in enumerate(zip(block.layers, (3, 6, 12, 18, 24), strict=True)):
        inner = running if i == 0 else normed(running, layer.norm1)
        inner = functional.conv2d(inner.clamp(min=0), layer.conv1.weight, layer.conv1.bias)
        inner = normed(inner, layer.norm2).clamp(min=0)
        new = functional.conv2d(inner, layer.conv2.weight, layer.conv2.bias, padding=rate, dilation=rate)
        running = torch.cat((new, running), 1)
    torch.testing.assert_close(block(x), running)
    assert torch.equal(x, before)
    assert block.channels == running.shape[1] == 6 + 5 * 4


def test_size_term_by_term() -> None:
    transition = 2 * 1664 + 1664 * 832 + 2 * 832
    inputs = [832 + i * 168 for i in range(len(RATES))]
    squeezes = sum((c + 1) * 336 for c in inputs) + sum(2 * c for c in inputs[1:])
    dilated = len(RATES) * (2 * 336 + (336 * 9 + 1) * 168)
    classify = (832 + 5 * 168 + 1) * CLASSES
    total = DENSENET169 - FINAL_NORM + transition + squeezes + dilated + classify
    with torch.device("meta"):
        assert weights(paper_denseaspp()) == weights(paper_denseaspp(output_stride=8)) == total == 18_416_076
        assert weights(DenseASPP(input_channels=1, num_classes=CLASSES)) == total


def test_without_context_one_unit_of_the_same_width_stands_for_the_layers() -> None:
    network = small(context="none").eval()
    full = small().eval()
    assert network.classify.seg_layers.in_channels == full.classify.seg_layers.in_channels
    assert network(torch.randn(1, 1, 40, 56)).shape == (1, 3, 40, 56)
    assert weights(network) < weights(full)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_dilations_work_on_the_map_of_an_eighth(stride: int) -> None:
    network = small(output_stride=stride).eval()
    logits = network.logits(network.encoder(torch.randn(1, 1, 90, 70)), (90, 70))
    assert logits.shape[2:] == (12, 9)


def test_the_encoders_last_norm_is_replaced() -> None:
    with torch.device("meta"):
        network: Any = DenseASPP(input_channels=1, num_classes=3)
    features = network.encoder.network.features
    assert isinstance(features["norm5"], nn.Identity)
    assert isinstance(network.transition[0], nn.BatchNorm2d)


@pytest.mark.parametrize("encoder", ["test_resnet", "densenet121"])
def test_recomputation_changes_neither_gradients_nor_running_statistics(encoder: str) -> None:
    networks = [small(encoder=encoder, recompute=recompute).train() for recompute in (False, True)]
    image = torch.randn(2, 1, 32, 32)
    for network in networks:
        torch.manual_seed(1)  # dropout
        network(image).square().mean().backward()
    kept, again = networks
    for (name, one), other in zip(kept.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, msg=name)
    state = again.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in kept.state_dict().items())
    assert kept_bytes(again, image) < kept_bytes(kept, image)


def test_momentum_is_that_of_the_heads_norms() -> None:
    def momenta(network: nn.Module) -> set[float | None]:
        return {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)}

    network = small(norm_momentum=3e-4)
    assert momenta(network.context) == {3e-4}
    assert momenta(network.encoder) == {0.1}
    assert momenta(small()) == {0.1}
    with torch.device("meta"):
        assert momenta(paper_denseaspp().context) == {3e-4}


def test_wrong_options_are_named_together() -> None:
    expected = r"inner_width is 0.*growth is 1.5.*norm_momentum is 2.*recompute is 'no'"
    with pytest.raises(NetworkPlanError, match=expected):
        options(inner_width=0, growth=1.5, norm_momentum=2, recompute="no")
