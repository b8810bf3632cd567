"""The tables of a comparison besides its metrics, read back; each may be absent.

confusion.csv   dataset,model,fold,seed,case,reference,prediction,voxels
costs.csv       model,quantity,value,unit,note
robustness.csv  dataset,model,perturbation,strength,case,label,metric,value
budget.csv      dataset,model,fold,seed,epoch,case,label,metric,value
jobs.csv        the state of each job; `model` and `state` are needed, the other columns are shown as they are
comparison.json {"notes": [...], "baseline": title}
environment.json hardware and versions: names and words
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from nnunet_spine_ext.data.files import read_json
from nnunet_spine_ext.errors import DataError, Finding
from nnunet_spine_ext.evaluation.confusion import CONFUSION_COLUMNS
from nnunet_spine_ext.report.csv_tables import as_numbers, read_words

COSTS = ("model", "quantity", "value", "unit", "note")
ROBUSTNESS = ("dataset", "model", "perturbation", "strength", "case", "label", "metric", "value")
BUDGET = ("dataset", "model", "fold", "seed", "epoch", "case", "label", "metric", "value")
JOBS = ("model", "state")
_NUMBERS = frozenset({"voxels", "value", "strength", "epoch"})
_REMEDY = "Delete it, or run the step of the comparison that writes it once more."


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is known about a comparison besides the metrics; None for a table that is not there."""

    baseline: str | None = None
    """The model that the others are compared with."""
    notes: tuple[str, ...] = ()
    confusion: pd.DataFrame | None = None
    costs: pd.DataFrame | None = None
    robustness: pd.DataFrame | None = None
    budget: pd.DataFrame | None = None
    jobs: pd.DataFrame | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def trainers(self) -> dict[str, str]:
        """Return model → trainer, as the jobs have it."""
        if self.jobs is None or "trainer" not in self.jobs.columns:
            return {}
        return dict(zip(self.jobs["model"], self.jobs["trainer"], strict=True))


def read_comparison(folder: Path) -> Comparison:
    """Read what is in the folder of a comparison.

    Raises:
        DataError: a file is there and cannot be read; all of them at once.
    """
    expected = {
        "confusion": CONFUSION_COLUMNS,
        "costs": COSTS,
        "robustness": ROBUSTNESS,
        "budget": BUDGET,
        "jobs": JOBS,
    }
    tables: dict[str, pd.DataFrame | None] = {}
    findings: list[Finding] = []
    facts: dict[str, Mapping[str, object]] = {"comparison": {}, "environment": {}}
    for name, columns in expected.items():
        try:
            tables[name] = read_table(folder / f"{name}.csv", columns, more=name == "jobs")
        except DataError as error:
            findings += error.findings
    for name in facts:
        try:
            facts[name] = read_json(file) if (file := folder / f"{name}.json").is_file() else {}
        except DataError as error:
            findings += error.findings
    if findings:
        raise DataError(findings)
    baseline, notes = facts["comparison"].get("baseline"), facts["comparison"].get("notes")
    return Comparison(
        baseline=str(baseline) if baseline else None,
        notes=tuple(str(note) for note in notes) if isinstance(notes, list) else (),
        environment=_in_words(facts["environment"]),
        **tables,
    )


def read_confusions(files: Iterable[Path]) -> pd.DataFrame | None:
    """Return the tables of confusion that lie at `files`, joined; None if there are none.

    Raises:
        DataError: one of them cannot be read.
    """
    tables = [table for file in files if (table := read_table(file, CONFUSION_COLUMNS)) is not None]
    return pd.concat(tables, ignore_index=True) if tables else None


def read_table(file: Path, columns: Sequence[str], *, more: bool = False) -> pd.DataFrame | None:
    """Return the table at `file`, words as they are and numbers as floats; None if it is absent or has no row.

    Args:
        file: a CSV file.
        columns: those that it has.
        more: whether it may have others.

    Raises:
        DataError: it cannot be read, has other columns, or words where numbers belong.
    """
    if not file.is_file():
        return None
    table = read_words(file, remedy=_REMEDY)
    lacking = [column for column in columns if column not in table.columns]
    if lacking or (len(table.columns) != len(columns) and not more):
        found = f"has the columns {', '.join(table.columns)}; expected {', '.join(columns)}"
        raise DataError.of(file, found, _REMEDY)
    for column in _NUMBERS.intersection(columns):
        table[column] = as_numbers(table[column], file, called=f"a number ({column})", remedy=_REMEDY)
    return table if len(table) else None


def _in_words(facts: Mapping[str, object], before: str = "") -> dict[str, str]:
    """Return nested facts flat: `gpu, name` → text."""
    flat: dict[str, str] = {}
    for key, value in facts.items():
        name = f"{before}{key}"
        if isinstance(value, dict):
            flat |= _in_words(value, f"{name}, ")
        elif isinstance(value, list):
            flat[name] = ", ".join(str(item) for item in value)
        elif value not in (None, ""):
            flat[name] = str(value)
    return flat
