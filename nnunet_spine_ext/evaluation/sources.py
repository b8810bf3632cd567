"""The note beside a table of metrics that says where its images lie, so that the report can draw them.

Folders are kept relative to the table, so that a results folder can be moved as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from nnunet_spine_ext.data.files import read_json, write_json
from nnunet_spine_ext.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the label maps and images behind one table of metrics lie."""

    dataset: str
    model: str
    predictions: Path
    references: Path
    images: Path | None
    file_ending: str
    labels: Mapping[str, int | list[int]]
    notes: Mapping[str, str]
    """What the reader of the results must know about the data, from `dataset.json`: name, description, source …"""
    versions: Mapping[str, str]
    fold: str = ""
    seed: str = ""


def dataset_name(references: Path) -> str:
    """Return the name of the dataset whose `labelsTr` or `labelsTs` is `references`; else the folder's own name."""
    above = references.resolve().parent.name
    return above if above.startswith("Dataset") else references.resolve().name


def fold_of(predictions: Path) -> str:
    """Return `<fold>` if the folder is the `fold_<fold>/validation` of a training ("0", "all"), else an empty text."""
    here = predictions.resolve()
    if here.name == "validation" and here.parent.name.startswith("fold_"):
        return here.parent.name.removeprefix("fold_")
    return ""


def dataset_notes(references: Path) -> dict[str, str]:
    """Return what `dataset.json` beside the folder `references` says about the data, in words; may be empty."""
    path = references.parent / "dataset.json"
    if not path.is_file():
        return {}
    facts = read_json(path)
    ours = facts.get("spine")
    told = {
        **{key: facts.get(key) for key in ("name", "description", "licence")},
        **(ours if isinstance(ours, dict) else {}),
    }
    return {key: str(value) for key, value in told.items() if isinstance(value, str) or value is True}


def sources_path(metrics: Path) -> Path:
    """Return where the note of the table `metrics` lies."""
    return metrics.with_name(f"{metrics.name}.sources.json")


def write_sources(sources: Sources, metrics: Path) -> None:
    """Write the note of the table `metrics`, atomically."""
    facts = asdict(sources)
    for key in ("predictions", "references", "images"):
        folder: Path | None = facts[key]
        facts[key] = None if folder is None else _relative(folder, metrics.parent)
    write_json(facts, sources_path(metrics))


def read_sources(metrics: Path) -> Sources | None:
    """Return the note of the table `metrics`, or None if there is none.

    Raises:
        DataError: the note is not what `write_sources` writes.
    """
    path = sources_path(metrics)
    if not path.is_file():
        return None
    try:
        facts = read_json(path)
        for key in ("predictions", "references", "images"):
            facts[key] = None if facts[key] is None else _absolute(facts[key], metrics.parent)
        return Sources(**facts)
    except (KeyError, TypeError) as error:
        raise DataError.of(
            path, f"cannot be read ({error})", "Evaluate again, or delete it: then no image is shown."
        ) from error


def _relative(folder: Path, start: Path) -> str:
    try:
        return Path(os.path.relpath(folder.resolve(), start.resolve())).as_posix()
    except ValueError:  # another drive
        return str(folder.resolve())


def _absolute(folder: str, start: Path) -> Path:
    return Path(os.path.normpath(start.resolve() / folder))
