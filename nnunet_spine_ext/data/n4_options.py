"""The parameters of N4, recorded in dataset.json so that later test images are corrected alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class N4Options:
    """How the bias field is estimated; the values are ITK's own but for the first two.

    Raises:
        ValueError: a value is out of its range.
    """

    target_mm: float = 2.75
    """Pixels of the shrunken copy are about this long: eight times the challenge's 0.345 mm."""
    iterations: tuple[int, ...] = (50, 50, 30, 20)
    """At most, on each of the levels of the B-spline's mesh."""
    control_points: int = 4
    """Of the coarsest mesh, along each axis."""
    convergence: float = 0.001
    full_width_at_half_maximum: float = 0.15
    wiener_noise: float = 0.01

    def __post_init__(self) -> None:
        positive = (self.target_mm, self.convergence, self.full_width_at_half_maximum, self.wiener_noise)
        if min(positive) <= 0 or self.control_points < 4:
            raise ValueError(f"N4 needs positive values and at least 4 control points, got {self}")
        if not self.iterations or min(self.iterations) < 1:
            raise ValueError(f"N4 needs at least one level of at least one iteration, got {self.iterations}")

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and lists."""
        return {**asdict(self), "iterations": list(self.iterations)}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> N4Options:
        """Return the options that `to_json` described.

        Raises:
            ValueError: the entry is not such a description.
        """
        names = {field.name for field in fields(cls)}
        if set(entry) != names:
            raise ValueError(f"the keys of N4 options are {sorted(names)}, got {sorted(entry)}")
        try:
            return cls(
                target_mm=float(entry["target_mm"]),
                iterations=tuple(int(i) for i in entry["iterations"]),
                control_points=int(entry["control_points"]),
                convergence=float(entry["convergence"]),
                full_width_at_half_maximum=float(entry["full_width_at_half_maximum"]),
                wiener_noise=float(entry["wiener_noise"]),
            )
        except TypeError as error:
            raise ValueError(f"these are no N4 options: {dict(entry)}") from error
