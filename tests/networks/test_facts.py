"""Weights and arithmetic of a row, and the table of rows."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from torch import Tensor, nn

from nnunet_spine_ext.networks import table
from nnunet_spine_ext.networks.facts import network_facts
from nnunet_spine_ext.networks.registry import NETWORKS, build
from tests.networks.tiny import SMALL


def macs_by_hand(network: nn.Module, image: Tensor) -> int:
    """Every output value of a convolution costs its kernel times its input channels; transposed, every input value."""
    total = 0

    def add(module: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        kernel = math.prod(module.kernel_size)
        if isinstance(module, nn.ConvTranspose3d):
            total += inputs[0].numel() * kernel * module.out_channels
        else:
            total += output.numel() * kernel * module.in_channels // module.groups

    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.register_forward_hook(add)
    network(image)
    return total


def test_counts_the_multiplications_of_every_convolution() -> None:
    facts = network_facts(
        NETWORKS["hybrid-res"], SMALL.words(), patch_size=SMALL.patch, input_channels=1, num_classes=3
    )
    network = build("hybrid-res", SMALL.words(), input_channels=1, num_classes=3)
    assert facts.gmac * 1e9 == pytest.approx(macs_by_hand(network, SMALL.image()))
    assert facts.parameters == sum(p.numel() for p in network.parameters())


def test_counts_the_links_mix_too() -> None:
    # hybrid-no-ux beside a network with bare skips: each link adds its convolutions, counted by hand.
    words = SMALL.words()
    bare = {**words, "options": {"link_block": "identity"}}
    count = [
        network_facts(NETWORKS["hybrid-no-ux"], w, patch_size=SMALL.patch, input_channels=1, num_classes=3).gmac
        for w in (words, bare)
    ]
    expected = 0
    for channels, expand, voxels in ((8, 1, 5 * 8 * 8), (16, 2, 5 * 4 * 4)):
        inner = channels * expand
        expected += voxels * inner * (channels + 9 + 3 + 5 + 7)  # expand, 1x3x3, rods of 3, 5 and 7
        expected += voxels * 9 * inner * channels  # nine maps back to the width
    assert (count[0] - count[1]) * 1e9 == pytest.approx(expected)


def test_memory_is_asked_of_whoever_counts_it() -> None:
    asked = []

    def count(make: Any, patch: Any) -> float:
        asked.append((type(make()).__name__, tuple(patch)))
        return 7.5

    facts = network_facts(
        NETWORKS["hybrid"], SMALL.words(), patch_size=SMALL.patch, input_channels=1, num_classes=3, memory=count
    )
    assert facts.training_memory_gb == 7.5
    assert asked == [("SpineHybrid", (5, 16, 16))]


def test_default_plan_of_a_patch_with_one_slice_is_2d() -> None:
    planned = table.planned_input((1, 60, 64), dataset=None, plans="", configuration="")
    assert planned.architecture["conv_op"] is nn.Conv2d
    assert planned.patch_size == (64, 64)


def test_table_has_every_row_that_takes_the_plan() -> None:
    def names(*patch: int) -> set[str]:
        planned = table.planned_input(patch, dataset=None, plans="", configuration="")
        return {one.entry.name for one in table.registry_facts(planned)}

    assert names(12, 32, 32) == set(NETWORKS)
    assert names(1, 32, 32) == {name for name, row in NETWORKS.items() if 2 in row.dims}


def test_three_forms_say_the_same() -> None:
    planned = table.planned_input((12, 32, 32), dataset=None, plans="", configuration="")
    facts = table.registry_facts(planned, name="hybrid-paper")
    (record,) = json.loads(table.as_json(facts))
    assert record["parameters"] == facts[0].parameters
    assert record["patch_size"] == [12, 32, 32]
    assert record["known_sizes"][0]["published"] == 1_012_865_948
    for text in (table.as_text(facts), table.as_markdown(facts)):
        assert "hybrid-paper" in text
        assert f"{facts[0].parameters / 1e6:.1f}" in text
        assert f"{facts[0].gmac:.1f}" in text
        assert "12 x 32 x 32, 1 channel(s), 20 logits" in text
    assert "1,012,865,948" in table.as_text(facts)
