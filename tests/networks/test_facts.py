"""Weights and arithmetic of a row, and the tables of rows."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks import listing, table
from nnunet_spine_ext.networks.facts import NetworkFacts, built_without_data, forward_gmac, network_facts, preset_gmac
from nnunet_spine_ext.networks.plans_file import PlannedInput
from nnunet_spine_ext.networks.published import PAPER_003_COSTS, why_it_differs
from nnunet_spine_ext.networks.registry import NETWORKS, build
from tests.networks.tiny import SMALL


def small(**changed: Any) -> PlannedInput:
    return PlannedInput(architecture=SMALL.words(**changed), patch_size=SMALL.patch, input_channels=1, num_classes=3)


def counted(*patch: int, name: str | None = None) -> list[NetworkFacts]:
    planned = table.planned_input(patch, dataset=None, plans="", configuration="")
    return table.registry_facts(table.shown_rows(planned, name=name), planned)


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
    facts = network_facts(NETWORKS["hybrid-res"], small())
    network = build("hybrid-res", SMALL.words(), input_channels=1, num_classes=3)
    assert facts.gmac * 1e9 == pytest.approx(macs_by_hand(network, SMALL.image()))
    assert facts.parameters == sum(p.numel() for p in network.parameters())
    assert facts.frozen_parameters == 0


def test_counts_the_links_mix_too() -> None:
    # hybrid-no-ux beside a network with bare skips: each link adds its convolutions, counted by hand.
    plans = (small(), small(options={"link_block": "identity"}))
    count = [network_facts(NETWORKS["hybrid-no-ux"], planned).gmac for planned in plans]
    expected = 0
    for channels, expand, voxels in ((8, 1, 5 * 8 * 8), (16, 2, 5 * 4 * 4)):
        inner = channels * expand
        expected += voxels * inner * (channels + 9 + 3 + 5 + 7)  # expand, 1x3x3, rods of 3, 5 and 7
        expected += voxels * 9 * inner * channels  # nine maps back to the width
    assert (count[0] - count[1]) * 1e9 == pytest.approx(expected)


def test_counts_the_paper_form_of_a_row() -> None:
    # 880 x 880 through one convolution of the classical U-Net after another would be a long sum; a tiny image is not.
    gmac = preset_gmac(
        NETWORKS["hybrid-paper"],
        {"width": 4, "plane_block": "res", "link_block": "res", "num_classes": 2},
        input_channels=1,
        size=(2, 32, 32),
    )
    from nnunet_spine_ext.networks.hybrid import paper_hybrid

    network = paper_hybrid(width=4, plane_block="res", link_block="res", num_classes=2)
    assert gmac * 1e9 == pytest.approx(macs_by_hand(network, torch.randn(1, 1, 2, 32, 32)))


def test_a_constructor_that_reads_values_is_counted_as_well() -> None:
    class Reads(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(1, round(torch.tensor(4.0).item()), 3, padding=1)

    network = built_without_data(Reads)
    assert next(network.parameters()).is_meta
    assert forward_gmac(network, (1, 8, 8)) * 1e9 == pytest.approx(8 * 8 * 4 * 9)


def test_memory_is_asked_of_whoever_counts_it() -> None:
    asked = []

    def count(row: Any, planned: Any) -> float:
        asked.append((row.name, planned.patch_size))
        return 7.5

    assert network_facts(NETWORKS["hybrid"], small(), memory=count).training_memory_gb == 7.5
    assert asked == [("hybrid", (5, 16, 16))]


def test_default_plan_of_a_patch_with_one_slice_is_2d() -> None:
    planned = table.planned_input((1, 60, 64), dataset=None, plans="", configuration="")
    assert planned.architecture["conv_op"] is nn.Conv2d
    assert planned.patch_size == (64, 64)


def test_table_has_every_row_that_takes_the_plan() -> None:
    def names(*patch: int) -> set[str]:
        planned = table.planned_input(patch, dataset=None, plans="", configuration="")
        return {row.name for row in table.shown_rows(planned)}

    assert names(12, 32, 32) == set(NETWORKS)
    assert names(1, 32, 32) == {name for name, row in NETWORKS.items() if 2 in row.dims}


def test_three_forms_say_the_same() -> None:
    facts = counted(12, 32, 32, name="hybrid-paper")
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


def test_what_never_learns_is_said() -> None:
    facts = counted(12, 32, 32, name="hybrid-res")
    assert "never learn" not in table.as_text(facts)
    assert "17 of them never learn" in table.as_text([replace(facts[0], frozen_parameters=17)])


def test_networks_in_2d_alone_are_said_to_take_3d_slice_by_slice() -> None:
    row = replace(NETWORKS["hybrid"], dims=(2,))
    assert listing.dims_text(row) == "2D (3D slice by slice)"
    assert listing.dims_text(NETWORKS["hybrid"]) == "2D, 3D"


def test_text_and_data_without_counting() -> None:
    rows = list(NETWORKS.values())
    text = listing.as_text(rows)
    assert [line.split()[0] for line in text.splitlines()] == ["network", *NETWORKS]
    assert [record["name"] for record in json.loads(listing.as_json(rows))] == list(NETWORKS)
    assert all(trainer in text for row in rows for trainer in row.trainers)


def test_every_size_that_differs_from_the_published_one_has_its_reason() -> None:
    unexplained = [
        f"{row.name}: {known.what}"
        for row in NETWORKS.values()
        for known in row.oracles
        if known.parameters != known.published and "not explained" in why_it_differs(row, known)
    ]
    assert unexplained == []


def test_costs_printed_by_paper_003_are_of_networks_that_are_here() -> None:
    for name, cost in PAPER_003_COSTS.items():
        printed = float(cost.parameters[:-1]) * {"K": 1e3, "M": 1e6}[cost.parameters[-1]]
        assert cost.known_size(NETWORKS[name]).parameters == pytest.approx(printed, rel=0.04), name


def test_a_bar_in_a_cell_does_not_break_a_table() -> None:
    assert listing.markdown_table(["a"], [["x|y"]]).splitlines()[-1] == "| x\\|y |"
