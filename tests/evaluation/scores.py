"""Score tables and rows of metrics.csv for the tests of statistics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def table(**scores: Sequence[float] | NDArray[np.float64]) -> pd.DataFrame:
    """Return a score table: a column per model, cases c000, c001 …"""
    frame = pd.DataFrame(dict(scores))
    frame.index = pd.Index([f"c{i:03d}" for i in range(len(frame))])
    return frame


def metrics_rows(*rows: tuple[str, object, object, str, str, str, float]) -> pd.DataFrame:
    """Return rows of model, fold, seed, case, label, metric, value as metrics.csv holds them."""
    columns = ["model", "fold", "seed", "case", "label", "metric", "value"]
    return pd.DataFrame(rows, columns=columns).assign(dataset="Dataset501_Fake")
