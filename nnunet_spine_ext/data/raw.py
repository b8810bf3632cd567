"""Writes an nnU-Net raw dataset: reads and checks all, then writes all, then puts it in place by one rename.

    DatasetXXX_Name/
        imagesTr labelsTr      CASE_0000.nii.gz and CASE.nii.gz
        imagesTs labelsTs      likewise, if there are test cases, and if those have labels
        dataset.json           nnU-Net's keys, licence, citation, and ours under "spine"
        splits_final.json      folds by patient; nnU-Net's planner copies it to the preprocessed folder
        splits_published.json  the publisher's own training and validation cases, if he names some; the same format
        conversion_log.json    see `audit`; conversion_log.html shows it to people
        crops.json             if images were cropped
        labels.label           names and colours for ITK-SNAP, labels.ctbl for 3D Slicer

What one case goes through is in `case_reading` and `case_writing`, how the folder grows in `staging`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine_ext.data.audit import LOG_FILE, PAGE_FILE, conversion_log, split_cases
from nnunet_spine_ext.data.audit_page import audit_page
from nnunet_spine_ext.data.case_reading import try_case
from nnunet_spine_ext.data.case_writing import FILE_ENDING, WriteTask, files_of, write_case
from nnunet_spine_ext.data.cases import CaseRules, Reading, SourceCase
from nnunet_spine_ext.data.cropping import CROPS_FILE, write_crops
from nnunet_spine_ext.data.files import free_bytes, in_words, write_json, write_text
from nnunet_spine_ext.data.label_files import write_label_files
from nnunet_spine_ext.data.parallel import in_parallel
from nnunet_spine_ext.data.splits import patient_folds
from nnunet_spine_ext.data.splits_file import SPLITS_FILE
from nnunet_spine_ext.data.staging import Staging
from nnunet_spine_ext.errors import DataError, Finding

PUBLISHED_SPLIT_FILE = "splits_published.json"
VALIDATION = "validation"
"""The subset of training cases that the publisher sets aside for validation."""
_SPARE_BYTES = 1_000_000
"""For the JSON files, and what a file system rounds up."""


@dataclass(frozen=True, kw_only=True)
class RawDataset:
    """A raw dataset to be written."""

    folder: Path
    """`nnUNet_raw/DatasetXXX_Name`."""
    rules: CaseRules
    description: Mapping[str, object]
    """dataset.json, besides numTraining and file_ending."""
    provenance: Mapping[str, object]
    """Head of the log."""


def read_cases(
    cases: Sequence[SourceCase], rules: CaseRules, *, processes: int, findings: Sequence[Finding] = ()
) -> list[Reading]:
    """Read and check every case; return them sorted by case id.

    Args:
        cases: what to read.
        rules: what will be done to them.
        processes: worker processes.
        findings: what the converter found wrong before; reported together with what is found here.

    Raises:
        DataError: with all findings of all cases.
    """
    found = [*findings, *_same_twice(cases)]
    tasks = [(case, rules) for case in sorted(cases)]
    results = in_parallel(try_case, tasks, processes=processes, description="Reading and checking")
    for result in results:
        if isinstance(result, DataError):
            found += result.findings
    readings = [result for result in results if isinstance(result, Reading)]
    found += _pictures_among_volumes(readings)
    if found:
        raise DataError(found)
    return readings


def folds_of(readings: Sequence[Reading]) -> list[dict[str, list[str]]]:
    """Return the folds of the training cases; none if there is only one patient."""
    cases = split_cases(readings)
    return patient_folds(cases) if len({case.patient for case in cases}) > 1 else []


def published_split(readings: Sequence[Reading]) -> list[dict[str, list[str]]]:
    """Return the publisher's own split as nnU-Net's single fold; empty if he sets no training case aside."""
    sides: dict[str, list[str]] = {"train": [], "val": []}
    for reading in readings:
        if reading.case.training:
            sides["val" if reading.case.subset == VALIDATION else "train"].append(reading.case.case)
    return [sides] if all(sides.values()) else []


def expected_bytes(readings: Sequence[Reading]) -> int:
    """Return about how much space the dataset will take."""
    return sum(reading.expected_bytes for reading in readings) + _SPARE_BYTES


def write_raw(dataset: RawDataset, readings: Sequence[Reading], *, processes: int) -> Path:
    """Write a raw dataset; return its folder.

    A killed run leaves only the hidden folder `.DatasetXXX_Name.partial` beside the target; the next run continues
    from it, and its result is the same, byte by byte.

    Raises:
        DataError: target exists or is read-only, no space, or a source changed meanwhile.
    """
    staging = Staging(dataset.folder)
    _require_space(staging, readings)
    with staging:
        try:
            staging.keep_only({file for r in readings for file in files_of(r).values()})
            written = _write_cases(dataset.rules, readings, staging, processes=processes)
            _write_tables(dataset, readings, written, staging.tree)
            staging.finish()
        except DataError as error:
            raise DataError([*error.findings, *_left_behind(staging)]) from error
    return dataset.folder


def _write_cases(
    rules: CaseRules, readings: Sequence[Reading], staging: Staging, *, processes: int
) -> dict[str, dict[str, Any]]:
    """Return case → what was written."""
    tasks = [
        WriteTask(reading=reading, rules=rules, tree=staging.tree, records=staging.records, scratch=staging.scratch)
        for reading in readings
    ]
    entries = in_parallel(write_case, tasks, processes=processes, description="Writing", in_use=staging.folder)
    return {reading.case.case: entry for reading, entry in zip(readings, entries, strict=True)}


def _write_tables(
    dataset: RawDataset, readings: Sequence[Reading], written: Mapping[str, Mapping[str, object]], tree: Path
) -> None:
    splits = folds_of(readings)
    if splits:
        write_json(splits, tree / SPLITS_FILE)
    published = published_split(readings)
    if published:
        write_json(published, tree / PUBLISHED_SPLIT_FILE)
    crops = {r.case.case: r.crop for r in readings if r.crop is not None}
    if crops:
        write_crops(crops, tree / CROPS_FILE)
    log = conversion_log(
        provenance=dataset.provenance, rules=dataset.rules, readings=readings, splits=splits, written=written
    )
    write_json(log, tree / LOG_FILE)
    write_text(audit_page(log), tree / PAGE_FILE)
    write_label_files(dataset.rules.scheme.names, tree)
    write_json(_dataset_json(dataset, readings), tree / "dataset.json")


def _dataset_json(dataset: RawDataset, readings: Sequence[Reading]) -> dict[str, Any]:
    return {
        **dataset.description,
        "numTraining": sum(reading.case.training for reading in readings),
        "file_ending": FILE_ENDING,
    }


def _require_space(staging: Staging, readings: Sequence[Reading]) -> None:
    needed = expected_bytes(readings) - staging.size_bytes()
    free = free_bytes(staging.folder)
    if needed > free:
        found = f"needs about {in_words(needed)}, but only {in_words(free)} are free on its disk"
        raise DataError.of(staging.target, found, "Free some space, or choose another folder with -o.")


def _left_behind(staging: Staging) -> list[Finding]:
    """Say what a failed run leaves for the next one; remove the folder if that is nothing."""
    finished = sum(1 for _ in staging.records.glob("*.json"))
    if not finished:
        staging.discard()
        return []
    finding = f"keeps what is finished ({finished} cases)"
    return [Finding(file=staging.folder, finding=finding, remedy="Run the command again to continue, or remove it.")]


def _pictures_among_volumes(readings: Sequence[Reading]) -> list[Finding]:
    """Return a finding for every 2D image in a dataset of 3D ones."""
    flat = [reading for reading in readings if reading.image.flat]
    if len(flat) in (0, len(readings)):
        return []
    finding = f"is a 2D image, but {len(readings) - len(flat)} images of this dataset are 3D"
    remedy = "Make two datasets of them."
    return [Finding(file=reading.case.image, finding=finding, remedy=remedy) for reading in flat]


def _same_twice(cases: Sequence[SourceCase]) -> list[Finding]:
    """Return a finding for every image whose case id another image has."""
    count = Counter(case.case for case in cases)
    remedy = "Keep one of them; the other is a copy, or a case that is in two sets."
    return [
        Finding(file=case.image, finding=f"is one of {count[case.case]} images of {case.case}", remedy=remedy)
        for case in cases
        if count[case.case] > 1
    ]
