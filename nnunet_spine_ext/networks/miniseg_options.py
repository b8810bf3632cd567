"""The options of SpineMiniSeg: one frozen dataclass, which a plans file can hold as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from nnunet_spine_ext.networks.options import is_count
from nnunet_spine_ext.networks.planned_options import PlannedOptions


@dataclass(frozen=True, kw_only=True)
class MiniSegOptions(PlannedOptions):
    """What SpineMiniSeg is made of.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    without_effect: ClassVar[Mapping[str, str]] = {"activation": "PReLU is part of this network"}

    dilations: tuple[int, ...] = (1, 2, 4, 8)
    """Of the four depthwise convolutions of a block, in the plane; (1, 1, 1, 1) switches dilation off."""
    attention: bool = True
    """Weigh the four scales of a block voxel by voxel."""
    head_dropout: float = 0.01
    """Share of channels dropped before a head."""
    aux_size: Literal["scales", "full"] = "scales"
    """Of the outputs for deep supervision: at the plan's scales (nnU-Net), or all at full size (the authors)."""
    lateral_bias: bool = False
    """A bias on the laterals, which the norm after them cancels, as published."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dilations", tuple(self.dilations))
        super().__post_init__()

    def wrong_values(self) -> list[str]:
        """Return a message for each value that is not allowed, or has no effect."""
        found = super().wrong_values()
        if len(self.dilations) != 4 or not all(map(is_count, self.dilations)):
            found.append(f"dilations is {self.dilations}, expected four positive dilations")
        if not 0 <= self.head_dropout < 1:
            found.append(f"head_dropout is {self.head_dropout}, expected a share of at least 0 and less than 1")
        if self.aux_size == "full" and self.heads == "full":
            found.append("aux_size='full' has an effect only with heads='every'")
        return found


PAPER_OPTIONS = MiniSegOptions(norm="batch", bias="no", heads="full", lateral_bias=True)
"""The network of its authors without its further heads, as paper 003 counts it."""
