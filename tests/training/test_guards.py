"""A loss that is not finite: what the error says about where it begins."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnunet_spine_ext.training import guards
from nnunet_spine_ext.training.guards import LossNotFinite, leaving_step_at_bad_loss, where_it_begins
from tests.training.tiny import MakeTrainer


class Reciprocal(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / x.new_zeros(())


class Stage(nn.Module):
    """A convolution, then an operation that is no layer of its own."""

    def __init__(self, *, breaks: bool) -> None:
        super().__init__()
        self.breaks = breaks
        self.conv, self.act = nn.Conv2d(1, 1, 1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.act(x * float("nan") if self.breaks else x)  # type: ignore[no-any-return]


def begins(network: nn.Module, *, half_precision: bool = False, scale: float = 1.0) -> str:
    return where_it_begins(network, scale * torch.ones(1, 1, 4, 4), half_precision=half_precision)


def test_the_innermost_layer_is_named_with_its_kind_and_input() -> None:
    network = nn.Sequential(Stage(breaks=False), nn.Sequential(nn.Identity(), Reciprocal()), Stage(breaks=False))
    nn.init.constant_(network[0].conv.weight, 3.0)  # type: ignore[union-attr,arg-type]
    nn.init.zeros_(network[0].conv.bias)  # type: ignore[union-attr,arg-type]
    assert "It begins in layer 1.1 (Reciprocal): the largest magnitude that goes in is 3;" in begins(network)
    assert not any(module._forward_hooks for module in network.modules())


def test_an_operation_between_layers_is_told_by_the_layer_that_it_reaches() -> None:
    sentence = begins(nn.Sequential(Stage(breaks=False), Stage(breaks=True)))
    assert "what reaches 1.act (ReLU) is not finite already, by an operation of 1." in sentence


def test_overflow_of_half_precision_is_found_in_half_precision_alone() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False)).bfloat16().float()
    for layer in network:
        nn.init.constant_(layer.weight, 1e20)  # type: ignore[arg-type]
    # bfloat16 and float32 end at 3e38: the second product is beyond both.
    assert "It begins in layer 1 (Conv2d)" in begins(network)
    assert "It begins in layer 1 (Conv2d)" in begins(network, half_precision=True)
    assert "Every layer of the network gives finite values" in begins(network, scale=1e-10)


def test_images_weights_and_losses_are_told_apart() -> None:
    network = Stage(breaks=False)
    assert "image batch itself" in begins(network, scale=float("nan"))
    assert "it begins in the loss" in begins(network)
    nn.init.constant_(network.conv.bias, float("inf"))  # type: ignore[arg-type]
    assert "weights are not finite any more, first conv.bias" in begins(network)


def test_the_search_never_raises() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ZeroDivisionError("of all things")

    assert "could not be found (ZeroDivisionError: of all things)" in begins(Fails())


def test_a_bad_loss_leaves_the_step_at_once() -> None:
    loss = nn.MSELoss()
    with leaving_step_at_bad_loss(loss):
        loss(torch.ones(2), torch.zeros(2))
        with pytest.raises(LossNotFinite):
            loss(torch.full((2,), float("inf")), torch.zeros(2))
    loss(torch.full((2,), float("nan")), torch.zeros(2))
    assert not loss._forward_hooks


def batch() -> dict[str, Any]:
    target = [torch.randint(0, 3, (2, 1, 4, edge, edge)).float() for edge in (32, 16)]
    return {"data": torch.randn(2, 1, 4, 32, 32), "target": target}


def test_a_run_stops_with_the_layer_and_keeps_its_weights(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.initialize()
    trainer.on_train_epoch_start()
    trainer.train_step(batch())
    before = [p.detach().clone() for p in trainer.network.parameters()]
    trainer.network.encoder.stages[1].register_forward_hook(lambda module, _, output: output / 0)
    with pytest.raises(guards.NonFiniteLossError, match=r"iteration 1 (?s:.*)begins (in|between) .*stages\.(1|2)"):
        trainer.train_step(batch())
    for one, expected in zip(trainer.network.parameters(), before, strict=True):
        assert torch.equal(one, expected)


def test_a_bad_image_is_named(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.initialize()
    trainer.on_train_epoch_start()
    bad = batch()
    bad["data"][0, 0, 0, 0, 0] = float("nan")
    with pytest.raises(guards.NonFiniteLossError, match="The image batch itself has values that are not finite"):
        trainer.train_step(bad)
