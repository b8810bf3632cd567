"""What is measured besides the overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.evaluation.metrics import DEFAULT_TOLERANCE_MM


@dataclass(frozen=True, kw_only=True)
class Options:
    """Choices that change the rows of a case.

    Raises:
        SpineExtError: the tolerance is no length.
    """

    distances: bool = True
    """Measure surface distances: HD95, ASSD, NSD."""
    tolerance_mm: float = DEFAULT_TOLERANCE_MM
    """How far apart surfaces may be and still agree, for the NSD."""
    slices_above: int | None = None
    """Measure slices as well: those with more reference pixels than this per 256 x 256."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tolerance_mm) and self.tolerance_mm > 0):
            raise SpineExtError(f"The tolerance is {self.tolerance_mm:g} mm; give a length above 0.")

    @property
    def notes(self) -> dict[str, str]:
        """Return in words what was chosen, for the reader of the results; nothing where it is the usual."""
        return {
            **({} if self.distances else {"distances": "not measured"}),
            **(
                {}
                if self.slices_above is None
                else {"slices": f"more than {self.slices_above} reference pixels per 256 x 256"}
            ),
        }
