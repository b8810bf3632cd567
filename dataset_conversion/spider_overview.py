"""SPIDER's `overview.csv`: which series its publishers train on, and which they validate on."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_spine_ext.data.cases import SourceCase
from nnunet_spine_ext.data.raw import VALIDATION
from nnunet_spine_ext.errors import Finding

OVERVIEW = "overview.csv"
_TRAINING = "training"
_NAME, _SUBSET = "new_file_name", "subset"
_AGAIN = f"Get {OVERVIEW} again, or move it away: then no published split is kept."


def with_subsets(cases: Sequence[SourceCase], overview: Path) -> tuple[tuple[SourceCase, ...], list[Finding]]:
    """Return the cases with the subset that the table gives them, and what is wrong with it.

    Without the table all cases are for training.
    """
    if not overview.is_file():
        return tuple(cases), []
    try:
        subsets = _read(overview)
    except (OSError, ValueError, csv.Error) as error:
        return tuple(cases), [Finding(file=overview, finding=f"cannot be read ({error})", remedy=_AGAIN)]
    findings = [
        Finding(file=case.image, finding=f"has no row in {OVERVIEW}", remedy=_AGAIN)
        for case in cases
        if case.number.lower() not in subsets
    ]
    placed = tuple(replace(case, subset=subsets.get(case.number.lower(), case.subset)) for case in cases)
    return placed, [*findings, *_unknown(subsets, overview), *_on_both_sides(placed, overview)]


def _read(overview: Path) -> dict[str, str]:
    """Return series in lower case → subset."""
    with overview.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = {_NAME, _SUBSET} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"it has no column {', '.join(sorted(missing))}")
        return {str(row[_NAME]).strip().lower(): str(row[_SUBSET]).strip().lower() for row in reader}


def _unknown(subsets: Mapping[str, str], overview: Path) -> list[Finding]:
    others = sorted(set(subsets.values()) - {_TRAINING, VALIDATION})
    finding = f"names the subsets {', '.join(map(repr, others))} beside training and validation"
    return [Finding(file=overview, finding=finding, remedy=_AGAIN)] if others else []


def _on_both_sides(cases: Sequence[SourceCase], overview: Path) -> list[Finding]:
    sides: dict[str, set[str]] = {}
    for case in cases:
        sides.setdefault(case.patient, set()).add(case.subset)
    return [
        Finding(file=overview, finding=f"puts series of {patient} into {' and '.join(sorted(found))}", remedy=_AGAIN)
        for patient, found in sorted(sides.items())
        if len(found) > 1
    ]
