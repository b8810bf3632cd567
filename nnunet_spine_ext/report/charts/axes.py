"""Axes of inline figures: where a value lies, where the ticks are, and how a number is written at one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from nnunet_spine_ext.report.charts.figures import Axis, round_step

_MINUS = "\N{MINUS SIGN}"
_TICKS = 6
_SHORT_LOG = 8
"""Up to this ratio of its ends a logarithmic axis bears evenly spaced numbers."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis from `low` at `start_px` to `high` at `end_px`."""

    low: float
    high: float
    start_px: float
    end_px: float
    log: bool = False

    @classmethod
    def of(cls, axis: Axis, values: Iterable[float], *, start_px: float, end_px: float) -> Scale:
        """Return the scale of `axis` on which all `values` lie."""
        low, high = axis.span(values)
        return cls(low=low, high=high, start_px=start_px, end_px=end_px, log=axis.log)

    def at(self, value: float) -> float:
        """Return where `value` lies, in pixels."""
        low, high, here = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start_px + (here - low) / (high - low) * (self.end_px - self.start_px)

    def ticks(self) -> list[tuple[float, str]]:
        """Return round values on the axis, and how each is written."""
        if self.log and self.high / self.low > _SHORT_LOG:
            return [(tick, short(tick)) for tick in _log_ticks(self.low, self.high)]
        step = round_step((self.high - self.low) / _TICKS)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        ticks = [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [(tick, f"{tick:.{decimals}f}".replace("-", _MINUS)) for tick in ticks]


def short(value: float) -> str:
    """Return a positive number with its thousands, millions as letters: 20k, 3M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 times powers of ten; powers alone if those are many."""
    powers = [10.0**p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    factors = (1, 2, 5) if len(powers) <= 4 else (1,)
    return [factor * power for power in powers for factor in factors if low <= factor * power <= high]
