"""Cross-validation folds: by patient, with every rare structure spread over the folds.

With T9 in 8 of 172 cases, random folds easily leave a fold without any. Here structures are dealt out one after the
other, the rarest first, each patient to the fold that has least of the structure at hand (iterative stratification,
Sechidis et al., ECML PKDD 2011, with a fixed order). Last come the patients with nothing rare; they even out the sizes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

FOLDS = 5
"""nnU-Net's own number."""
SEED = 12345
"""nnU-Net's own seed."""

_ANY = ""
"""The structure that every case has: dealing it out last balances the sizes of the folds."""


@dataclass(frozen=True, kw_only=True)
class SplitCase:
    """What decides where a training case goes."""

    case: str
    patient: str
    structures: Collection[str] = ()
    fold: int | None = None
    """The fold in which its patient is to be validated, if there are so many; None: whichever suits."""


def patient_folds(cases: Collection[SplitCase], *, folds: int = FOLDS, seed: int = SEED) -> list[dict[str, list[str]]]:
    """Return nnU-Net's `splits_final`: for each fold the sorted case ids under `train` and `val`.

    Every case is validated exactly once, and no patient is on both sides of a fold. The result depends on the cases
    and the seed alone, not on their order or on the machine.

    Args:
        cases: training cases; cases of one patient stay together.
        folds: how many; fewer if there are fewer patients.
        seed: which of the equally good folds come out.

    Raises:
        ValueError: fewer than two patients, two cases with one id, or a fold left empty by the folds given to patients.
    """
    patients: dict[str, list[SplitCase]] = {}
    for case in sorted(cases, key=lambda c: c.case):
        patients.setdefault(case.patient, []).append(case)
    if len(patients) < 2:
        raise ValueError(f"folds need at least 2 patients, got {len(patients)}")
    names = [case.case for case in cases]
    if len(set(names)) < len(names):
        raise ValueError("two cases share an id")
    fold_of = _deal(patients, folds=min(folds, len(patients)), seed=seed)
    empty = sorted(set(range(min(folds, len(patients)))) - set(fold_of.values()))
    if empty:
        raise ValueError(f"fold {empty[0]} would validate no case: too many patients were given to other folds")
    return [
        {
            "train": sorted(c.case for c in cases if fold_of[c.patient] != fold),
            "val": sorted(c.case for c in cases if fold_of[c.patient] == fold),
        }
        for fold in range(min(folds, len(patients)))
    ]


def fold_table(cases: Collection[SplitCase], splits: list[dict[str, list[str]]]) -> list[dict[str, int]]:
    """Return for each fold how many validation cases it has and how many of them have each structure."""
    structures = {case.case: case.structures for case in cases}
    names = sorted({name for case in cases for name in case.structures})
    return [
        {"cases": len(split["val"]), **{name: sum(name in structures[c] for c in split["val"]) for name in names}}
        for split in splits
    ]


def _deal(patients: Mapping[str, list[SplitCase]], *, folds: int, seed: int) -> dict[str, int]:
    """Return patient → fold."""
    has = {patient: _counts(cases) for patient, cases in patients.items()}
    total: Counter[str] = sum(has.values(), Counter())
    order = sorted(total, key=lambda name: (total[name], name == _ANY, name))
    held = [Counter[str]() for _ in range(folds)]
    fold_of = _fixed(patients, folds=folds)
    for patient, fold in fold_of.items():
        held[fold].update(has[patient])
    for position, structure in enumerate(order):
        waiting = [p for p in has if p not in fold_of and structure in has[p]]
        # Large patients first: they are the hardest to place.
        for patient in sorted(waiting, key=lambda p: (-has[p][structure], _lot(p, seed))):
            later = order[position:]
            fold_of[patient] = min(
                range(folds), key=lambda f: (*(held[f][s] for s in later), _lot(f"{patient} {f}", seed))
            )
            held[fold_of[patient]].update(has[patient])
    return fold_of


def _fixed(patients: Mapping[str, list[SplitCase]], *, folds: int) -> dict[str, int]:
    """Return patient → fold for those whose fold is given."""
    given = {patient: [c.fold for c in cases if c.fold is not None] for patient, cases in patients.items()}
    return {patient: found[0] for patient, found in given.items() if found and found[0] < folds}


def _counts(cases: list[SplitCase]) -> Counter[str]:
    """Return structure → how many of a patient's cases have it."""
    return Counter([name for case in cases for name in {*case.structures, _ANY}])


def _lot(text: str, seed: int) -> str:
    """Return a sort key that looks random but is the same on every machine and for every set of patients."""
    return hashlib.sha256(f"{seed} {text}".encode()).hexdigest()
