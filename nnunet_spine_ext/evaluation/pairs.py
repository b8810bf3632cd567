"""Match prediction files with reference files by name, and check by their headers that each pair can be compared."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine_ext.data.geometry import read_grid
from nnunet_spine_ext.errors import DataError, Finding
from nnunet_spine_ext.evaluation.placing import misfit


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One case: its name and its two label maps."""

    case: str
    prediction: Path
    reference: Path


def cases_in(folder: Path, *, file_ending: str) -> dict[str, Path]:
    """Return case name → file for the label maps in `folder` (other files, such as summary.json, are passed over).

    Raises:
        DataError: no such folder.
    """
    if not folder.is_dir():
        raise DataError.of(folder, "no such folder", "Check the path.")
    files = sorted(file for file in folder.iterdir() if file.name.endswith(file_ending))
    return {f.name.removesuffix(file_ending): f for f in files if not f.name.startswith(".") and f.is_file()}


def match(
    predictions: Path, references: Path, *, file_ending: str, cases: Collection[str] | None = None
) -> tuple[list[Pair], list[Finding]]:
    """Return the pairs that can be compared, sorted by case, and a finding for everything else.

    Args:
        predictions: folder of predicted label maps.
        references: folder of reference label maps with the same file names.
        file_ending: as in `dataset.json`, with the dot.
        cases: the cases that must have been predicted; None for every reference. Others are compared when predicted.
    """
    predicted = cases_in(predictions, file_ending=file_ending)
    known = cases_in(references, file_ending=file_ending)
    findings = [
        _missing(predictions / f"{case}{file_ending}")
        for case in set(known if cases is None else cases) - set(predicted)
    ]
    findings += [_extra(predicted[case], references) for case in set(predicted) - set(known)]
    pairs = []
    for case in sorted(set(predicted) & set(known)):
        pair = Pair(case=case, prediction=predicted[case], reference=known[case])
        found = check_headers(pair)
        findings += found
        pairs += [] if found else [pair]
    if not predicted:
        findings = [_empty(predictions, file_ending)]
    return pairs, findings


def check_headers(pair: Pair) -> list[Finding]:
    """Return what the two headers say against comparing this pair; no voxel is read."""
    try:
        differences = misfit(read_grid(pair.reference), read_grid(pair.prediction))
    except DataError as error:
        return list(error.findings)
    if not differences:
        return []
    return [
        Finding(
            file=pair.prediction,
            finding=f"lies on another grid than {pair.reference}: {'; '.join(differences)}",
            remedy="Predict on the images that belong to these references; nothing is resampled here.",
        )
    ]


def _missing(file: Path) -> Finding:
    return Finding(
        file=file,
        finding="is missing: no prediction of this case",
        remedy="Predict it, or evaluate only the predicted cases on purpose (--subset).",
    )


def _extra(file: Path, references: Path) -> Finding:
    return Finding(
        file=file,
        finding=f"has no reference of the same name in {references}",
        remedy="Name the folder of its references (-r), or take the file away.",
    )


def _empty(folder: Path, file_ending: str) -> Finding:
    return Finding(
        file=folder,
        finding=f"holds no prediction (no file ends with {file_ending})",
        remedy="Name the folder that nnUNetv2_predict wrote, or a fold's validation folder.",
    )
