"""Tables as they stand in CSV files: words as they are, and numbers that must be numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_spine_ext.errors import DataError


def read_words(file: Path, *, remedy: str) -> pd.DataFrame:
    """Return the table at `file`, every cell a text.

    Raises:
        DataError: it cannot be read.
    """
    try:
        # Only an empty value is a missing one: "NA" may be a structure's name.
        return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError.of(file, f"cannot be read ({error})", remedy) from error


def as_numbers(words: pd.Series[str], file: Path, *, called: str, remedy: str) -> pd.Series[float]:
    """Return a column of `file` as numbers, NaN for an empty cell.

    Raises:
        DataError: a cell holds something else; the message calls it `called`.
    """
    numbers = pd.to_numeric(words.replace("", "nan"), errors="coerce")
    wrong = numbers.isna() & ~words.isin(["", "nan"])
    if wrong.any():
        line = int(np.flatnonzero(wrong)[0])
        raise DataError.of(file, f"holds {words.iloc[line]!r} as {called} in line {line + 2}", remedy)
    return numbers.astype(float)
