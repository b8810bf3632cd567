"""DANet: three heads, and what attention adds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nnunet_spine_ext.networks.danet import PAPER_003, DANet, DANetOptions
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from tests.networks.shrink_attention import SHRINK


def danet(**options: Any) -> DANet:
    torch.manual_seed(0)
    return DANet(input_channels=1, num_classes=3, options={**SHRINK["danet"], **options})


def slices() -> Tensor:
    return torch.randn(2, 1, 64, 48, generator=torch.Generator().manual_seed(1))


def test_heads_are_on_the_sum_and_on_each_branch() -> None:
    network = danet().eval()
    network.training = True  # the list of outputs, without dropout and batch statistics
    network.position_head.seg_layers.weight.data.copy_(network.head.seg_layers.weight)
    network.channel_head.seg_layers.weight.data.copy_(network.head.seg_layers.weight)
    for head in (network.head, network.position_head, network.channel_head):
        head.seg_layers.bias.data.zero_()
    main, position, channel = network(slices())
    torch.testing.assert_close(main, position + channel)
    assert not torch.allclose(position, channel)


def test_attention_begins_without_influence() -> None:
    both, none = danet().eval(), danet(attention="none").eval()
    missing = none.load_state_dict(both.state_dict(), strict=False)
    assert missing.missing_keys == []
    names = {key.rsplit(".", 2)[-2] for key in missing.unexpected_keys if key.endswith("weight")}
    assert names == {"query", "key", "value"}
    with torch.no_grad():
        torch.testing.assert_close(both(slices()), none(slices()))


@pytest.mark.parametrize(("attention", "gone"), [("position", "beta"), ("channel", "gamma"), ("none", "gamma beta")])
def test_each_kind_of_attention_can_be_left_out(attention: str, gone: str) -> None:
    names = {name.rsplit(".", 1)[-1] for name, _ in danet(attention=attention).named_parameters()}
    assert {"gamma", "beta"} - names == set(gone.split())


def test_without_further_outputs_there_are_no_further_heads() -> None:
    alone = danet(aux=False).train()
    assert isinstance(alone(slices()), Tensor)
    gone = danet().state_dict().keys() - alone.state_dict().keys()
    assert {key.split(".")[0] for key in gone} == {"position_head", "channel_head"}


def test_paper_003s_cost_is_that_of_output_stride_32() -> None:
    with torch.device("meta"):
        network = DANet(input_channels=1, num_classes=20, options=PAPER_003).eval()
        image = torch.empty(1, 1, 880, 880)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    assert counter.get_total_flops() / 2e9 == pytest.approx(139.01, rel=0.005)


def test_wrong_options_are_named() -> None:
    with pytest.raises(NetworkPlanError, match=r"attention is 'all'.*width is 0"):
        DANetOptions(attention="all", width=0)  # type: ignore[arg-type]
