"""The options of SpineSegNet: one frozen dataclass, which a plans file can hold as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from nnunet_spine_ext.networks.planned_options import NOTHING_DILATED, PlannedOptions


@dataclass(frozen=True, kw_only=True)
class SegNetOptions(PlannedOptions):
    """What SpineSegNet is made of.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    without_effect: ClassVar[Mapping[str, str]] = NOTHING_DILATED

    unpool: Literal["indices", "nearest"] = "indices"
    """Put each maximum back where it was found, or (to measure what that adds) everywhere in its window."""
    bottom: Literal["convs", "none"] = "convs"
    """Convolutions at the lowest resolution; none in the published network, where it has the width of the stage
    above."""


PAPER_OPTIONS = SegNetOptions(bottom="none", heads="full", norm="batch", activation="relu", bias="yes")
"""The published network's, and paper 004's."""
