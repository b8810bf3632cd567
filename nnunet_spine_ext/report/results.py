"""Read tables of metrics back; every number of the report comes from here, hence from the CSV files."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from nnunet_spine_ext.errors import DataError, Finding, SpineExtError
from nnunet_spine_ext.evaluation.cases import COLUMNS
from nnunet_spine_ext.evaluation.metrics import NAN, Metric, known_metrics
from nnunet_spine_ext.evaluation.statistics_tables import score_table
from nnunet_spine_ext.evaluation.structures import GROUPS, UNION
from nnunet_spine_ext.report.csv_tables import as_numbers, read_words

KEYS = ["model", "seed", "case", "label", "metric"]
"""What a row speaks of. A case belongs to one fold, so the fold is not among them."""
_OLD_COLUMNS = ("dataset", "model", "case", "label", "metric", "value")
_NAME_ONE = "Name a table that `nnunet_spine evaluate` wrote."
_WRITE_AGAIN = "Write the table again with `nnunet_spine evaluate`."

Values: TypeAlias = "pd.Series[float]"
"""case → value"""
_NOTHING: Values = pd.Series(dtype=float)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and standard deviation (n - 1) of the `n` values that were there; NaN where there are too few."""

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of `values`, NaN left out."""
        there = np.array([value for value in values if not np.isnan(value)], dtype=float)
        mean = float(there.mean()) if there.size else NAN
        return cls(mean=mean, sd=float(there.std(ddof=1)) if there.size > 1 else NAN, n=int(there.size))


@dataclass(frozen=True, kw_only=True)
class Results:
    """All rows of some tables of one dataset, and what occurs in them in the order of first occurrence."""

    files: tuple[Path, ...]
    table: pd.DataFrame
    """The columns of the CSV files, and `file`: the position in `files`."""
    dataset: str
    models: tuple[str, ...]
    cases: tuple[str, ...]
    structures: tuple[str, ...]
    metrics: tuple[Metric, ...]
    """Those measured per structure, in the order of the table of metrics."""
    seeds: tuple[str, ...] = ("",)
    """The seeds that occur, sorted; "" for results that name none."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the structures, and the union of them if there are several."""
        return (*self.structures, UNION) if len(self.structures) > 1 else self.structures

    def number_of_cases(self, model: str) -> int:
        """Return how many cases the model predicted."""
        return int(self.table.loc[self.table["model"] == model, "case"].nunique())

    def is_measured(self, *, label: str, metric: str) -> bool:
        """Return whether any model has rows of this label and metric."""
        return any((model, metric, label) in self._values for model in self.models)

    def values(self, *, model: str, label: str, metric: str) -> Values:
        """Return case → value of one model, label and metric: the mean over seeds (NaN for a value left out)."""
        return self._values.get((model, metric, label), _NOTHING)

    def case_means(self, *, model: str, metric: str) -> Values:
        """Return case → mean over the case's structures, then over seeds; only cases that have one."""
        return self.score_table(metric=metric)[model].dropna()

    def score_table(self, *, metric: str, label: str | None = None) -> pd.DataFrame:
        """Return case × model, one value per case: what paired statistics are computed from.

        Args:
            metric: its key.
            label: a structure, or a group of `structures.py`; None takes the mean over the case's structures.

        Returns:
            A table with the cases in order and a column for every model, in their order; without a value, of NaN.
        """
        if (metric, label) not in self._score_tables:
            try:
                table = score_table(self.table, metric=metric, labels=None if label is None else [label])
            except SpineExtError:  # nobody measured it
                table = pd.DataFrame(dtype=float)
            self._score_tables[metric, label] = table.reindex(columns=list(self.models))
        return self._score_tables[metric, label]

    def left_out(self, *, model: str, metric: str) -> tuple[int, int]:
        """Return how many values of structures are left out, and how many there are in all."""
        chosen = (self.table["model"] == model) & (self.table["metric"] == metric)
        values = self.table.loc[chosen & self.table["label"].isin(self.structures), "value"]
        return int(values.isna().sum()), int(values.size)

    @functools.cached_property
    def _values(self) -> dict[tuple[str, str, str], Values]:
        """The table taken apart once: a report asks for hundreds of its columns."""
        over_seeds = self.table.groupby(["model", "metric", "label", "case"], sort=False)["value"].mean().reset_index()
        groups = over_seeds.set_index("case").groupby(["model", "metric", "label"], sort=False)["value"]
        return {(str(model), str(metric), str(label)): values for (model, metric, label), values in groups}

    @functools.cached_property
    def _score_tables(self) -> dict[tuple[str, str | None], pd.DataFrame]:
        """(metric, label) → the tables asked for so far: a report asks for each of them many times."""
        return {}


def read_results(files: Sequence[Path]) -> Results:
    """Read and join tables of metrics: the folds and seeds of a model may be in several.

    Raises:
        DataError: a file is absent, has other columns, or a value that is no number.
        SpineExtError: the tables are of different datasets, or hold a case of the same model and seed twice.
    """
    if not files:
        raise SpineExtError("No table of metrics was named. Write one with `nnunet_spine evaluate`.")
    tables = _read_all(files)
    _refuse_twice(files, tables)
    table = pd.concat([t.assign(file=i) for i, t in enumerate(tables)], ignore_index=True)
    datasets = sorted(table["dataset"].unique())
    if len(datasets) != 1:
        raise SpineExtError(f"The tables are of different datasets ({', '.join(datasets)}). Write one report for each.")
    structures = tuple(label for label in table["label"].unique() if label not in GROUPS)
    measured = table.loc[table["label"].isin(structures), "metric"].unique()
    return Results(
        files=tuple(files),
        table=table,
        dataset=datasets[0],
        models=tuple(table["model"].unique()),
        cases=tuple(sorted(table["case"].unique())),
        structures=structures,
        metrics=tuple(known_metrics(measured).values()),
        seeds=tuple(sorted(table["seed"].unique())),
    )


def _read_all(files: Sequence[Path]) -> list[pd.DataFrame]:
    tables: list[pd.DataFrame] = []
    findings: list[Finding] = []
    for file in files:
        try:
            tables.append(_read(file))
        except DataError as error:
            findings += error.findings
    if findings:
        raise DataError(findings)
    return tables


def _read(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise DataError.of(file, "no such file", _NAME_ONE)
    table = read_words(file, remedy=_NAME_ONE)
    if tuple(table.columns) == _OLD_COLUMNS:
        found = "has no columns `fold` and `seed`: an earlier version of this package wrote it"
        raise DataError.of(file, found, "Write it again with `nnunet_spine evaluate`.")
    if tuple(table.columns) != COLUMNS or table.empty:
        found = f"has the columns {', '.join(table.columns)} and {len(table)} rows; expected {', '.join(COLUMNS)}"
        raise DataError.of(file, found, _NAME_ONE)
    table["value"] = as_numbers(table["value"], file, called="a value", remedy=_WRITE_AGAIN)
    return table


def _refuse_twice(files: Sequence[Path], tables: Sequence[pd.DataFrame]) -> None:
    for (first, one), (second, other) in itertools.combinations(zip(files, tables, strict=True), 2):
        shared = pd.merge(one[KEYS], other[KEYS])
        if len(shared):
            model, seed, case = shared.iloc[0][["model", "seed", "case"]]
            of_seed = f", seed {seed}," if seed else ""
            raise SpineExtError(
                f"Case {case} of model {model}{of_seed} is in {first} and in {second}. Name each table once, or give "
                "the models different names (evaluate --model), or the trainings different seeds (evaluate --seed)."
            )
    for file, table in zip(files, tables, strict=True):
        if table.duplicated(KEYS).any():
            raise DataError.of(file, "holds the same row twice", _WRITE_AGAIN)
