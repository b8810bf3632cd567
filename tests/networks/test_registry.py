"""The table and the translation of plans; what each network then does is in test_contracts."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from nnunet_spine_ext.errors import PlanError
from nnunet_spine_ext.networks import registry
from nnunet_spine_ext.networks.hybrid import SpineHybrid
from nnunet_spine_ext.networks.plan_words import plan_words
from tests.networks.tiny import PLANS, SMALL


def built(name: str, words: dict[str, Any]) -> SpineHybrid:
    network = registry.build(name, words, input_channels=1, num_classes=3)
    assert isinstance(network, SpineHybrid)
    return network


def test_rows_are_the_four_arms_of_the_paper() -> None:
    arms = {
        name: (built(name, SMALL.words()).options)
        for name in ("hybrid", "hybrid-no-hanc", "hybrid-no-ux", "hybrid-res")
    }
    assert {name: (o.plane_block, o.link_block) for name, o in arms.items()} == {
        "hybrid": ("ux", "hanc"),
        "hybrid-no-hanc": ("ux", "res"),
        "hybrid-no-ux": ("res", "hanc"),
        "hybrid-res": ("res", "res"),
    }


def test_options_of_the_call_go_over_those_of_the_row() -> None:
    options = built("hybrid-res", {**SMALL.words(), "options": {"link_block": "identity"}}).options
    assert (options.plane_block, options.link_block) == ("res", "identity")


def test_plan_of_a_residual_encoder_means_two_convolutions_a_block() -> None:
    words = SMALL.words()
    del words["n_conv_per_stage"]
    network = built("hybrid", {**words, "n_blocks_per_stage": [1, 3, 4]})
    assert [len(stage) for stage in network.encoder.planes] == [3]
    assert plan_words({**words, "n_blocks_per_stage": 2})["n_conv_per_stage"] == 4


@pytest.mark.parametrize(("word", "value"), [("nonlin_first", True), ("stem_channels", 16), ("bottleneck_channels", 8),
                                             ("block", nn.Module)])  # fmt: skip
def test_word_without_effect_is_said(word: str, value: object, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        built("hybrid", {**SMALL.words(), word: value})
    assert f"The plan's {word} has no effect" in caplog.text


def test_word_that_says_nothing_is_not_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        built("hybrid", {**SMALL.words(), "nonlin_first": False, "stem_channels": None})
    assert not caplog.text


def test_unknown_word_is_refused() -> None:
    with pytest.raises(PlanError, match="has window_size, which is no word"):
        built("hybrid", {**SMALL.words(), "window_size": 7})


def test_missing_word_is_refused() -> None:
    words = SMALL.words()
    del words["strides"]
    with pytest.raises(PlanError, match="lacks strides"):
        built("hybrid", words)


def test_unknown_network_is_refused_with_the_names() -> None:
    with pytest.raises(PlanError, match="no network 'unet'; there are hybrid, "):
        registry.entry("unet")


def test_plan_of_other_dimensions_is_refused() -> None:
    with pytest.raises(PlanError, match="'hybrid-paper' takes no 2D plan"):
        built("hybrid-paper", PLANS["2d"].words())


def test_preset_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(registry.entry("hybrid"), preset=None)
    monkeypatch.setitem(registry.NETWORKS, "hybrid", row)
    with pytest.raises(PlanError, match="no form of its paper's own"):
        registry.build_preset("hybrid", {})
