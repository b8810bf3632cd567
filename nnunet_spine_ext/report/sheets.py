"""A table as the report holds it: once for the page, and for CSV, Markdown and LaTeX (`sheet_files`).

A cell has the text that is read and the numbers behind it: people see 0.861 ± 0.043, a spreadsheet gets both numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

Value: TypeAlias = "float | int | str"
"""Of a cell, as a CSV file holds it: NaN is empty there."""

_MINUS = "\N{MINUS SIGN}"
_THIN = "\N{THIN SPACE}"
NOTHING = "–"
"""What is printed where there is no value."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a sheet."""

    key: str
    """Name in the CSV file; with several `parts`, the beginning of their names."""
    heading: str
    parts: tuple[str, ...] = ("",)
    """What the values of a cell are, such as mean, sd, n."""
    numeric: bool = True
    hint: str = ""
    model: int | None = None
    """Index of the model that the column is about."""


MODEL = Column(key="model", heading="Model", numeric=False)
"""The column of the models' names."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One result of a sheet; `best` says that no other model is better."""

    text: str
    values: tuple[Value, ...]
    small: str = ""
    """What is printed behind the text, smaller: a deviation, a unit."""
    below: str = ""
    """What is printed below it, smaller: an interval."""
    best: bool = False
    model: int | None = None
    """Index of the model that the cell names."""

    @property
    def sorted_by(self) -> Value:
        """Return what the column is sorted by."""
        return self.values[0]

    @property
    def in_words(self) -> str:
        """Return all that is printed, in one line."""
        return " ".join(part for part in (self.text, self.small, f"({self.below})" if self.below else "") if part)


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table; `key` names its files."""

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def name_cell(name: str, *, model: int | None = None) -> Cell:
    """Return a cell that holds a name; of a model, with its mark."""
    return Cell(text=name, values=(name,), model=model)


def number_cell(value: float, text: str, *, below: str = "") -> Cell:
    """Return a cell of one number, written as `text` if it is there."""
    return Cell(text=NOTHING if math.isnan(value) else text, values=(value,), below=below)


def count_cell(count: int) -> Cell:
    """Return a cell of a whole number."""
    return Cell(text=str(count), values=(count,))


def fixed(value: float, decimals: int, *, sign: bool = False) -> str:
    """Return a number with so many decimals and a proper minus; – for one that is not there."""
    if math.isnan(value):
        return NOTHING
    return f"{value:{'+' if sign else ''},.{decimals}f}".replace(",", _THIN).replace("-", _MINUS)


def with_best(cells: Sequence[Cell], worth: Sequence[float]) -> list[Cell]:
    """Return the cells, those of the highest worth marked: if at least two differ (NaN takes no part)."""
    there = [value for value in worth if not math.isnan(value)]
    if len(there) < 2 or max(there) == min(there):
        return list(cells)
    return [replace(cell, best=value == max(there)) for cell, value in zip(cells, worth, strict=True)]
