"""The options of SpineASPPUNet: one frozen dataclass, which a plans file can hold as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nnunet_spine_ext.networks.options import is_count
from nnunet_spine_ext.networks.planned_options import PlannedOptions


@dataclass(frozen=True, kw_only=True)
class ASPPUNetOptions(PlannedOptions):
    """What SpineASPPUNet is made of. The paper's seven ablations are `aspp_stages`.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    aspp: Literal["dilated", "undilated", "none"] = "dilated"
    """`none`: a plain U-Net; `undilated`: all rates 1, so that depth and number of weights make no difference."""
    aspp_stages: tuple[bool, ...] = (True, True, True, True)
    """Which encoder stages have one, the full resolution first; further stages have none, and the bottom never."""
    aspp_width: Literal["c", "c//2", "256"] = "c"
    """Of each line: the stage's own width (the paper), half of it, or 256 (DeepLab)."""
    rates: tuple[int, ...] = (6, 12, 18)
    """Dilations, in the plane."""
    pool_axes: Literal["plane", "space", "none"] = "plane"
    """What the pooled line averages over: each slice by itself (the paper is 2D), the whole patch, or no such line."""

    pooled_norm: bool = False
    """BatchNorm on the pooled line, as the count of the paper's network suggests. It needs two samples in a batch."""

    bottom: Literal["convs", "none"] = "convs"
    """Convolutions at the lowest resolution; none in the paper, where it has the width of the stage above."""
    up: Literal["transposed", "transposed_same"] = "transposed"
    """A transposed convolution to the width of the skip, or (the paper) one that keeps its width, after which the
    convolutions of a stage narrow to that of the next."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "aspp_stages", tuple(self.aspp_stages))
        object.__setattr__(self, "rates", tuple(self.rates))
        super().__post_init__()

    def wrong_values(self) -> list[str]:
        """Return a message for each number and flag that is not allowed."""
        found = super().wrong_values()
        if not all(isinstance(flag, bool) for flag in self.aspp_stages):
            found.append(f"aspp_stages is {self.aspp_stages}, expected true or false for each stage")
        if not all(map(is_count, self.rates)):
            found.append(f"rates is {self.rates}, expected positive dilations")
        if self.pooled_norm and self.norm != "batch":
            found.append("pooled_norm=True has an effect only with norm='batch'; another norm fails on one voxel")
        return found

    def width(self, channels: int) -> int:
        """Return the width of each line at a stage of `channels`."""
        return {"c": channels, "c//2": max(1, channels // 2), "256": 256}[self.aspp_width]


PAPER_OPTIONS = ASPPUNetOptions(
    bottom="none", up="transposed_same", heads="full", norm="batch", activation="relu", bias="yes"
)
"""The paper's own network, read literally, but for the norm on the pooled line."""
