"""EMANet: the frozen convolution, the running bases, the dilations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_spine_ext.networks.emanet import PAPER_003, EMANet, EMANetOptions, paper_emanet
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from tests.networks.shrink_attention import SHRINK


def emanet(**options: Any) -> EMANet:
    torch.manual_seed(0)
    return EMANet(input_channels=1, num_classes=3, options={**SHRINK["emanet"], **options})


def slices() -> Tensor:
    return torch.randn(2, 1, 64, 48, generator=torch.Generator().manual_seed(1))


def test_frozen_weights_are_those_that_the_class_names_and_as_many_as_published() -> None:
    with torch.device("meta"):
        network = paper_emanet()
    frozen = {name: p.numel() for name, p in network.named_parameters() if not p.requires_grad}
    assert all(name.startswith(EMANet.frozen) for name in frozen)
    assert sum(frozen.values()) == 262_656


def test_bases_are_learnt_in_training_alone_and_belong_to_the_state() -> None:
    network = emanet()
    before = network.state_dict()["attention.bases"].clone()
    network.eval()(slices())
    assert torch.equal(network.state_dict()["attention.bases"], before)
    network.train()(slices())
    assert not torch.equal(network.state_dict()["attention.bases"], before)


def test_without_attention_the_head_stays() -> None:
    gone = emanet().state_dict().keys() - emanet(attention="none").state_dict().keys()
    assert gone
    assert all(key.startswith("attention.") for key in gone)
    assert emanet(attention="none")(slices()).shape == (2, 3, 64, 48)


def test_last_stage_has_the_published_dilations() -> None:
    with torch.device("meta"):
        stage: Any = paper_emanet().encoder.network.layer4
    found = [[m.dilation[0] for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
             for block in stage]  # fmt: skip
    assert found == [[2], [8], [16]]


@pytest.mark.parametrize(("stride", "dilations"), [(8, (2, 8, 16)), (16, (1, 4, 8))])
def test_dilations_reach_equally_far_at_each_output_stride(stride: Any, dilations: tuple[int, ...]) -> None:
    assert EMANetOptions(output_stride=stride, multi_grid=True).last_dilations == dilations
    assert EMANetOptions(output_stride=stride).last_dilations == ()


def test_cost_is_that_of_paper_003s_table() -> None:
    with torch.device("meta"):
        network = EMANet(input_channels=1, num_classes=20, options=PAPER_003).eval()
        image = torch.empty(1, 1, 880, 880)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    assert counter.get_total_flops() / 2e9 == pytest.approx(681.19, rel=0.005)


def test_wrong_options_are_named() -> None:
    with pytest.raises(NetworkPlanError, match=r"width is 1.*bases is 0.*iterations is -1"):
        EMANetOptions(width=1, bases=0, iterations=-1)
