"""What the annotations of options say is checked for all of them alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest

from nnunet_spine_ext.networks.options import NetworkOptions
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.planned_options import PlannedOptions


@dataclass(frozen=True, kw_only=True)
class Some(NetworkOptions):
    least: ClassVar[Mapping[str, int]] = {"reach": 0}
    odd: ClassVar[frozenset[str]] = frozenset({"kernel"})

    kind: Literal["a", "b"] = "a"
    switch: bool = False
    width: int = 4
    depth: int | None = None
    reach: int = 0
    kernel: int = 3
    share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Deaf(PlannedOptions):
    without_effect: ClassVar[Mapping[str, str]] = {"heads": "there is one", "patch_size": "no dilation"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "c"}, "kind is 'c', expected one of 'a', 'b'"),
        ({"switch": 1}, "switch is 1, expected true or false"),
        ({"width": 0}, "width is 0, expected a whole number of at least 1"),
        ({"width": None}, "width is None"),
        ({"width": 4.0}, "width is 4.0"),
        ({"depth": -1}, "depth is -1, expected a whole number of at least 1"),
        ({"reach": -1}, "reach is -1, expected a whole number of at least 0"),
        ({"kernel": 4}, "kernel is 4, expected odd and positive"),
        ({"kernel": -3}, "kernel is -3"),
    ],
)
def test_values_of_another_kind_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(NetworkPlanError, match=f"^Some: {said}[^;]*$"):
        Some.of(given)


def test_values_of_their_kind_are_taken() -> None:
    made = Some.of({"kind": "b", "switch": True, "width": 1, "depth": 2, "reach": 0, "kernel": 5, "share": 0.1})
    assert Some.of(made.as_json()) == made
    assert Some(depth=None).depth is None


def test_all_of_them_are_named_at_once() -> None:
    with pytest.raises(NetworkPlanError, match=r"kind is 3.*width is 0.*kernel is 2.*switch is 'no'"):
        Some.of({"switch": "no", "kernel": 2, "width": 0, "kind": 3})


def test_an_option_that_says_nothing_is_refused_with_the_reason() -> None:
    assert Deaf(heads="every", patch_size=None) == Deaf()
    with pytest.raises(NetworkPlanError, match=r"heads='full'\): there is one; patch_size .*\(4, 4\)\): no dilation"):
        Deaf(heads="full", patch_size=(4, 4))
