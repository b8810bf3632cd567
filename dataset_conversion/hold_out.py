"""Cases that the user holds out as a test set; whole patients only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_spine_ext.data.cases import SourceCase
from nnunet_spine_ext.errors import Finding


def held_out(
    published: Sequence[SourceCase], source: Path, numbers: Sequence[str]
) -> tuple[tuple[SourceCase, ...], list[Finding]]:
    """Return the cases with those of `numbers` moved to the test set, and what is wrong with `numbers`."""
    findings = []
    chosen: set[str] = set()
    for number in numbers:
        matches = [case for case in published if _is_number(case, number)]
        chosen |= {case.case for case in matches}
        if not any(case.training for case in matches):
            found = "is in the test set already" if matches else "does not exist"
            remedy = f"Training cases: {', '.join(case.number for case in sorted(published) if case.training)}."
            findings.append(Finding(file=source, finding=f"the case {number} to hold out {found}", remedy=remedy))
    cases = tuple(
        replace(case, training=False, subset="hold-out") if case.training and case.case in chosen else case
        for case in published
    )
    return cases, [*findings, *_split_patients(cases), *_nothing_left(cases, source)]


def _is_number(case: SourceCase, number: str) -> bool:
    same = number in (case.number, case.case)
    return same or (number.isdecimal() and case.number.isdecimal() and int(number) == int(case.number))


def _split_patients(cases: Sequence[SourceCase]) -> list[Finding]:
    """Return a finding for every held-out case whose patient is trained on as well."""
    trained = {case.patient for case in cases if case.training}
    finding = "is held out, but other images of the same patient are not"
    remedy = "Hold out all images of a patient or none."
    return [
        Finding(file=case.image, finding=finding, remedy=remedy)
        for case in cases
        if case.subset == "hold-out" and case.patient in trained
    ]


def _nothing_left(cases: Sequence[SourceCase], source: Path) -> list[Finding]:
    if any(case.training for case in cases) or not cases:
        return []
    return [Finding(file=source, finding="no case is left to train on", remedy="Hold out fewer cases.")]
