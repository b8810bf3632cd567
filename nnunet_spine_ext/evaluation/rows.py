"""What measuring one case gives."""

from __future__ import annotations

from dataclasses import dataclass

Row = tuple[str, str, float]
"""label, metric, value"""

ConfusionRow = tuple[str, str, int]
"""structure in the reference, structure in the prediction, voxels"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The rows of one case, for the table of metrics and for the table of confusions."""

    rows: list[Row]
    confusion: list[ConfusionRow]
