"""nnU-Net's `splits_final.json`: a list of folds, each with its case ids under `train` and `val`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_spine_ext.data.files import read_json_value
from nnunet_spine_ext.errors import DataError, SetupError

SPLITS_FILE = "splits_final.json"


def read_validation_cases(file: Path, *, folds: Sequence[int] | None = None) -> list[list[str]]:
    """Return the cases that each fold validates, in the order of the file.

    Args:
        file: a `splits_final.json`.
        folds: which; None for all.

    Raises:
        SetupError: there is no such file, or it holds no such folds.
        DataError: the file was cut short, or is something else.
    """
    if not file.is_file():
        raise SetupError(f"{file} is missing: nnU-Net writes it when it trains the first fold. Train the models.")
    splits = read_json_value(file)
    if not isinstance(splits, list) or not all(isinstance(s, dict) and isinstance(s.get("val"), list) for s in splits):
        raise DataError.of(file, "is no list of folds with their cases under `val`", "Mend it, or write it anew.")
    wanted = range(len(splits)) if folds is None else folds
    absent = [fold for fold in wanted if not 0 <= fold < len(splits)]
    if absent:
        raise SetupError(f"{file} holds {len(splits)} folds; there is no fold {', '.join(map(str, absent))}.")
    return [[str(case) for case in splits[fold]["val"]] for fold in wanted]
