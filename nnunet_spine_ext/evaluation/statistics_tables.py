"""Score tables, folds and seeds, taken out of the rows of metrics.csv.

The rows have the columns `model, fold, seed, case, label, metric, value`; fold and seed may be empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pandas as pd

from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.evaluation.structures import GROUPS


def score_table(rows: pd.DataFrame, *, metric: str, labels: Collection[str] | None = None) -> pd.DataFrame:
    """Return one value per case and model: the mean over the case's structures, then over seeds.

    Values left out (NaN) do not count; where all are left out, the score is NaN.

    Args:
        rows: rows of metrics.csv.
        metric: key of the metric.
        labels: what is averaged; None for every structure (not the union, not values of whole cases).

    Raises:
        SpineExtError: there is no such row.
    """
    per_seed = scores_by_seed(rows, metric=metric, labels=labels)
    table = per_seed.groupby(level=["model", "case"]).mean().unstack("model").sort_index()
    ordered: pd.DataFrame = table[[model for model in rows["model"].unique() if model in table.columns]]
    return ordered


def scores_by_seed(rows: pd.DataFrame, *, metric: str, labels: Collection[str] | None = None) -> pd.Series[float]:
    """Return the mean over structures, indexed by model, seed (as text) and case; see `score_table`.

    Raises:
        SpineExtError: there is no such row.
    """
    of_metric = rows[rows["metric"] == metric]
    chosen = of_metric[~of_metric["label"].isin(GROUPS) if labels is None else of_metric["label"].isin(list(labels))]
    if chosen.empty:
        of = "structures" if labels is None else ", ".join(sorted(labels))
        raise SpineExtError(f"The table holds no value of {metric} for {of}. Evaluate again, or choose another metric.")
    seeds = chosen["seed"].map(_as_text)
    means: pd.Series[float] = chosen.assign(seed=seeds).groupby(["model", "seed", "case"], sort=True)["value"].mean()
    return means


def folds_of_cases(rows: pd.DataFrame) -> dict[str, str]:
    """Return case → fold in which it was validated; cases that belong to no fold are not in it.

    Raises:
        SpineExtError: a case is in different folds, so that the models did not learn from the same cases.
    """
    pairs = rows[["case", "fold"]].drop_duplicates()
    folds: dict[str, str] = {}
    for case, value in zip(pairs["case"], pairs["fold"], strict=True):
        fold = _as_text(value)
        if fold and folds.setdefault(str(case), fold) != fold:
            raise SpineExtError(
                f"Case {case} is in fold {folds[str(case)]} and in fold {fold}: the models were not trained with the "
                "same splits_final.json. Train them with the same one."
            )
    return folds


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names of folds, or of seeds, each once: 2 before 10."""
    return sorted(set(names), key=lambda name: (len(name), name))


def _as_text(value: object) -> str:
    """Return a fold or a seed as it was written: pandas makes 0.0 of 0 in a column with empty cells."""
    if value is None or value == "" or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
