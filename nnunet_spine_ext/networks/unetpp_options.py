"""The options of SpineUNetPP: one frozen dataclass, which a plans file can hold as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from nnunet_spine_ext.networks.planned_options import NOTHING_DILATED, PlannedOptions


@dataclass(frozen=True, kw_only=True)
class UNetPPOptions(PlannedOptions):
    """What SpineUNetPP is made of, and which of its outputs it predicts with.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    without_effect: ClassVar[Mapping[str, str]] = {**NOTHING_DILATED, "heads": "every head has the full resolution"}

    least: ClassVar[Mapping[str, int]] = {"max_nest_depth": 0}

    down: Literal["strided", "pool"] = "strided"
    """From stage to stage: a strided convolution (nnU-Net), or max-pooling before the convolutions (the paper)."""
    max_nest_depth: int | None = None
    """None: a network of every depth is nested, as published. m: those of depth 1 … m, and the whole one, whose lower
    stages then are a plain U-Net; 0: nothing is nested, a plain U-Net of the same parts."""
    recompute: bool = False
    """Compute the nodes again in backward instead of keeping their maps: a third more arithmetic; results are equal."""

    branch: int | None = None
    """Predict with the nested network of this depth ("pruned"): what it does not need is not computed. None: all."""
    average: bool = False
    """Predict with the mean of the logits of all nested networks ("accurate mode"), up to `branch`."""
