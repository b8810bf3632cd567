"""How the report writes numbers."""

from __future__ import annotations

import math

from nnunet_spine_ext.evaluation.metrics import Metric
from nnunet_spine_ext.report.results import Spread
from nnunet_spine_ext.report.sheets import NOTHING, Cell, fixed

SPREAD_PARTS = ("mean", "sd", "n")
"""What the values of a `spread_cell` are."""
_DECIMALS = {"": 3, "ml": 2, "mm": 2, "voxels": 0}
_OTHER_DECIMALS = 3
_LEAST_P = 0.001


def shown(value: float, metric: Metric, *, sign: bool = False) -> str:
    """Return a number as the report prints it, by the metric's unit; – for a value that is not there."""
    return fixed(value, _DECIMALS.get(metric.unit, _OTHER_DECIMALS), sign=sign)


def with_sd(sd: float, metric: Metric) -> str:
    """Return ± SD for small print; nothing where there is none."""
    return "" if math.isnan(sd) else f"± {shown(sd, metric)}"


def spread_cell(spread: Spread, metric: Metric, *, below: str = "") -> Cell:
    """Return a cell of mean ± SD."""
    text, small = shown(spread.mean, metric), with_sd(spread.sd, metric)
    return Cell(text=text, values=(spread.mean, spread.sd, spread.n), small=small, below=below)


def interval(low: float, high: float, metric: Metric, *, sign: bool = False) -> str:
    """Return both ends of an interval; nothing where there is none."""
    if math.isnan(low):
        return ""
    return f"{shown(low, metric, sign=sign)} to {shown(high, metric, sign=sign)}"


def significant(value: float) -> str:
    """Return a number with three significant digits, never with an exponent."""
    if math.isnan(value):
        return NOTHING
    if value == 0:
        return "0"
    return fixed(value, max(0, 2 - math.floor(math.log10(abs(value)))))


def percent(share: float, decimals: int = 0) -> str:
    """Return a share in per cent."""
    return f"{share * 100:.{decimals}f} %"


def p_value(p: float) -> str:
    """Return a p-value: three decimals, and never 0."""
    if math.isnan(p):
        return NOTHING
    return f"< {_LEAST_P}" if p < _LEAST_P else f"{p:.3f}"


def headed(metric: Metric) -> str:
    """Return the metric's title with its unit."""
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def worth(value: float, metric: Metric) -> float:
    """Return a number that is larger where `value` is better; NaN for a metric without a direction."""
    return {"higher": value, "lower": -value, "zero": -abs(value), "neither": math.nan}[metric.good]
