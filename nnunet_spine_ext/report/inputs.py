"""Where the rows of a report come from: which predictions, of which trainer, on which images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine_ext.data.files import sha256_of
from nnunet_spine_ext.evaluation.sources import Sources
from nnunet_spine_ext.report.results import Results


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One table of metrics, for the last section of the page."""

    name: str
    sha256: str
    rows: int
    predictions: str
    references: str
    versions: str


def source_file(results: Results, file: Path, notes: Sequence[Sources]) -> SourceFile:
    """Return what is said about one of the tables that `results` were read from, by the notes on its predictions."""

    def near(folders: Iterable[Path]) -> str:
        different = list(dict.fromkeys(folders))
        if len(different) != 1:
            return f"{len(different)} folders" if different else "unknown"
        return Path(os.path.relpath(different[0], file.resolve().parent)).as_posix()

    versions = dict.fromkeys(", ".join(f"{name} {v}" for name, v in note.versions.items()) for note in notes)
    return SourceFile(
        name=file.name,
        sha256=sha256_of(file),
        rows=int((results.table["file"] == results.files.index(file)).sum()),
        predictions=near(note.predictions for note in notes),
        references=near(note.references for note in notes),
        versions="; ".join(versions) or "unknown",
    )


def placed_by_file(results: Results, sources: Mapping[Path, Sources]) -> dict[tuple[str, str], Sources]:
    """Return (model, case) → where its files lie, by the note beside the table that the case is in; its first seed."""
    there = results.table[["file", "model", "case"]].drop_duplicates()
    files = (results.files[i] for i in there["file"])
    placed: dict[tuple[str, str], Sources] = {}
    for file, model, case in zip(files, there["model"], there["case"], strict=True):
        if file in sources:
            placed.setdefault((str(model), str(case)), sources[file])
    return placed


def placed_by_fold(results: Results, sources: Iterable[Sources]) -> dict[tuple[str, str], Sources]:
    """Return (model, case) → where its files lie, by model, fold and seed: for tables joined into one."""
    by_training = {(note.model, note.fold, note.seed): note for note in sources}
    there = results.table[["model", "fold", "seed", "case"]].drop_duplicates().sort_values("seed", kind="stable")
    placed: dict[tuple[str, str], Sources] = {}
    for model, fold, seed, case in there.itertuples(index=False, name=None):
        note = by_training.get((model, fold, seed))
        if note is not None:
            placed.setdefault((model, case), note)
    return placed


def trainer_of(note: Sources) -> str:
    """Return the trainer that made the predictions, if they lie in nnU-Net's Trainer__Plans__configuration."""
    for part in reversed(note.predictions.parts):
        if part.count("__") == 2:
            return part.split("__")[0]
    return ""
