"""The options of SpineACCUNet: one frozen dataclass, which a plans file can hold as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from nnunet_spine_ext.networks.planned_options import NOTHING_DILATED, PlannedOptions


@dataclass(frozen=True, kw_only=True)
class ACCUNetOptions(PlannedOptions):
    """What SpineACCUNet is made of. `scales=1` and `skip` switch its ideas off, for measuring what they add.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    without_effect: ClassVar[Mapping[str, str]] = NOTHING_DILATED

    expand: int = 1
    """Channels inside a block over those of its input; 3 in the paper, which triples the cost of every block."""
    wide_expand: int | None = None
    """The same for the second block of decoder stage 2: 34 in the paper. None: as everywhere."""
    scales: int = 3
    """Neighbourhoods that a block compares, the voxel itself included; fewer where fewer stages follow. 1: none."""
    skip: Literal["mlfc", "respath", "plain"] = "mlfc"
    """Skip connections: residual paths and levels that read one another; the paths alone ("lite"); or nothing."""
    passes: int = 3
    """Of MLFC."""
    stem: Literal["conv", "none"] = "conv"
    """A convolution to the first stage's width before the first block. Without (the paper), that block is as narrow as
    the image has channels."""
    norm_eps: float = 1e-3
    """Least eps of the norms. A block has six in a row, and where a map is constant (a window of background) each of
    them multiplies gradients by 1/sqrt(eps): by 316 with the plan's 1e-5, until float32 overflows."""
    recompute: bool = True
    """Compute blocks again in backward instead of keeping their maps; results are equal."""

    def wrong_values(self) -> list[str]:
        """Return a message for an eps that is none, and for options without effect."""
        found = super().wrong_values()
        if not (isinstance(self.norm_eps, float) and self.norm_eps > 0):
            found.append(f"norm_eps is {self.norm_eps!r}, expected a number above 0")
        if self.passes != 3 and self.skip != "mlfc":
            found.append("passes has an effect only with skip='mlfc'")
        return found


PAPER_OPTIONS = ACCUNetOptions(expand=3, wide_expand=34, stem="none", norm_eps=1e-5, heads="full", norm="batch")
"""The published network."""
