"""The cases of a curve: which are predicted by which folds, where their files lie, and how they are measured."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunet_spine_ext.data.files import read_json, sha256_of
from nnunet_spine_ext.data.splits_file import SPLITS_FILE, read_validation_cases
from nnunet_spine_ext.errors import DataError, Finding, SpineExtError
from nnunet_spine_ext.evaluation.cases import evaluate_folder
from nnunet_spine_ext.evaluation.metrics import METRICS
from nnunet_spine_ext.evaluation.pairs import cases_in
from nnunet_spine_ext.evaluation.structures import Labels
from nnunet_spine_ext.paths import dataset_folder, nnunet_folder

Subset = Literal["validation", "test"]

CurveRow = tuple[str, str, str, str]
"""case, label, metric, value as it stands in a CSV file"""


@dataclass(frozen=True, kw_only=True)
class CaseGroup:
    """Cases that the same networks predict."""

    folds: tuple[int, ...]
    cases: tuple[str, ...]
    """Sorted."""
    images: Path
    references: Path

    @property
    def name(self) -> str:
        """A name that can be a file's."""
        return "fold_" + "_".join(map(str, self.folds))


@dataclass(frozen=True, kw_only=True)
class CurveData:
    """A dataset in nnUNet_raw."""

    folder: Path
    labels: Labels
    file_ending: str
    channels: int

    @classmethod
    def of(cls, dataset_id: int) -> CurveData:
        """Return the dataset with this number.

        Raises:
            SetupError: there is none.
            DataError: its dataset.json cannot be read.
        """
        folder = dataset_folder(dataset_id)
        facts = read_json(folder / "dataset.json")
        missing = [key for key in ("labels", "channel_names") if not isinstance(facts.get(key), dict)]
        if missing:
            found = f"has no table {' and no table '.join(missing)}"
            raise DataError.of(folder / "dataset.json", found, "Convert the dataset again.")
        ending = str(facts.get("file_ending", ".nii.gz"))
        return cls(folder=folder, labels=facts["labels"], file_ending=ending, channels=len(facts["channel_names"]))

    @property
    def name(self) -> str:
        """`Dataset<ID>_<Name>`."""
        return self.folder.name

    def groups(self, subset: Subset, folds: Sequence[int]) -> tuple[CaseGroup, ...]:
        """Return a group per fold with the cases that it validates, or one with the test cases for all folds.

        Raises:
            SetupError: the folds of the dataset are not known, or there are no such folds.
            DataError: images or references are missing; all are named.
        """
        if subset == "test":
            images, references = self.folder / "imagesTs", self.folder / "labelsTs"
            cases = tuple(sorted(cases_in(references, file_ending=self.file_ending)))
            groups: tuple[CaseGroup, ...] = (
                CaseGroup(folds=tuple(folds), cases=cases, images=images, references=references),
            )
        else:
            images, references = self.folder / "imagesTr", self.folder / "labelsTr"
            groups = tuple(
                CaseGroup(folds=(fold,), cases=cases, images=images, references=references)
                for fold, cases in zip(folds, self._validation_cases(folds), strict=True)
            )
        self._require_files(groups)
        return groups

    def image_files(self, group: CaseGroup, case: str) -> list[Path]:
        """Return a case's images, channel by channel."""
        return [group.images / f"{case}_{channel:04d}{self.file_ending}" for channel in range(self.channels)]

    def signature(self, group: CaseGroup) -> str:
        """Return a checksum of what a group's results hang on: its references' bytes, its images' sizes."""
        files = [
            [
                case,
                sha256_of(group.references / f"{case}{self.file_ending}"),
                *(file.stat().st_size for file in self.image_files(group, case)),
            ]
            for case in group.cases
        ]
        return hashlib.sha256(json.dumps([files, self.labels]).encode()).hexdigest()

    def measure(
        self, predictions: Path, group: CaseGroup, *, metrics: Collection[str], processes: int
    ) -> list[CurveRow]:
        """Return the rows of some metrics of predicted cases, sorted by case.

        Raises:
            DataError: predictions are missing or do not fit their references.
        """
        table = predictions.with_name(f"{predictions.name}.csv")
        with contextlib.redirect_stderr(io.StringIO()):  # a bar for every point of a curve would bury the curve's own
            evaluate_folder(
                predictions,
                group.references,
                labels=self.labels,
                model="curve",
                output=table,
                processes=processes,
                dataset=self.name,
                file_ending=self.file_ending,
                cases=group.cases,
                distances=any(METRICS[key].unit == "mm" or key.startswith("nsd_") for key in metrics),
            )
        with table.open(encoding="utf-8", newline="") as file:
            rows = [(r["case"], r["label"], r["metric"], r["value"]) for r in csv.DictReader(file)]
        return [row for row in rows if row[2] in metrics]

    def _validation_cases(self, folds: Sequence[int]) -> list[tuple[str, ...]]:
        file = nnunet_folder("nnUNet_preprocessed") / self.name / SPLITS_FILE
        return [tuple(sorted(cases)) for cases in read_validation_cases(file, folds=folds)]

    def _require_files(self, groups: Sequence[CaseGroup]) -> None:
        wanted = [
            file
            for group in groups
            for case in group.cases
            for file in (*self.image_files(group, case), group.references / f"{case}{self.file_ending}")
        ]
        findings = [
            Finding(file=file, finding="no such file", remedy="Convert the dataset again, or check nnUNet_raw.")
            for file in wanted
            if not file.is_file()
        ]
        if findings:
            raise DataError(findings)
        if not any(group.cases for group in groups):
            raise DataError.of(self.folder, "holds no case for this curve", "Choose other folds, or the other subset.")


def require_metrics(metrics: Sequence[str]) -> None:
    """Raise a `SpineExtError` if a metric has an unknown name."""
    unknown = [key for key in metrics if key not in METRICS]
    if unknown:
        raise SpineExtError(f"No metric is called {', '.join(unknown)}; there are {', '.join(METRICS)}.")
