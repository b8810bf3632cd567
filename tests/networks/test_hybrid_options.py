"""Options: checked, and readable from a plans file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nnunet_spine_ext.networks.hybrid import PAPER_OPTIONS, HybridOptions
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError


@pytest.mark.parametrize("options", [HybridOptions(), PAPER_OPTIONS, HybridOptions(thickness=(3, 9), link_expand=2)])
def test_json_round_trip(options: HybridOptions) -> None:
    assert HybridOptions.of(json.loads(json.dumps(options.as_json()))) == options


def test_json_holds_only_what_differs_from_the_defaults() -> None:
    assert HybridOptions().as_json() == {}
    assert HybridOptions(stem="fullres", thickness=(3,)).as_json() == {"stem": "fullres", "thickness": [3]}


def test_nothing_means_the_defaults() -> None:
    assert HybridOptions.of(None) == HybridOptions.of({}) == HybridOptions()


def test_misspelt_option_is_named_with_the_right_ones() -> None:
    with pytest.raises(NetworkPlanError, match=r"no option plane_blok; there are plane_block, link_block"):
        HybridOptions.of({"plane_blok": "ux"})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"plane_block": "vit"}, "plane_block is 'vit', expected one of 'ux', 'res'"),
        ({"plane_kernel": 6}, "plane_kernel is 6, expected odd"),
        ({"stem_kernel": 0}, "stem_kernel is 0"),
        ({"thickness": []}, "thickness"),
        ({"thickness": [3, 4]}, "thickness"),
        ({"link_expand": 0}, "link_expand is 0"),
        ({"width": 0}, "width is 0"),
        ({"width": "64"}, "width is '64'"),
        ({"ux_second_conv": "3d"}, "ux_second_conv='3d' has an effect only"),
    ],
)
def test_value_that_is_not_allowed_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(NetworkPlanError, match=named):
        HybridOptions.of(given)


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(NetworkPlanError, match=r"norm is 'batch'.*plane_kernel is 2"):
        HybridOptions.of({"norm": "batch", "plane_kernel": 2})
