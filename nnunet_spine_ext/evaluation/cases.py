"""Compare a folder of predictions with a folder of references: one tidy row per case × label × metric.

    predictions + references ─▶ pairs, findings ─▶ worker processes ─▶ ledger ─▶ metrics.csv, metrics.csv.sources.json

The table's columns are `dataset, model, case, label, metric, value`; an empty value is one left out (see `metrics.py`).
"""

from __future__ import annotations

import csv
import math
import platform
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_spine_ext import __version__
from nnunet_spine_ext.data.files import whole_file
from nnunet_spine_ext.data.parallel import in_parallel
from nnunet_spine_ext.errors import DataError, Finding
from nnunet_spine_ext.evaluation.case import measure
from nnunet_spine_ext.evaluation.ledger import Ledger
from nnunet_spine_ext.evaluation.overlap import Row
from nnunet_spine_ext.evaluation.pairs import Pair, match
from nnunet_spine_ext.evaluation.sources import Sources, dataset_name, dataset_notes, write_sources
from nnunet_spine_ext.evaluation.structures import Labels, Structures

COLUMNS = ("dataset", "model", "case", "label", "metric", "value")


def evaluate_folder(
    predictions: Path,
    references: Path,
    *,
    labels: Labels,
    model: str,
    output: Path,
    processes: int = 2,
    images: Path | None = None,
    dataset: str | None = None,
    file_ending: str = ".nii.gz",
    cases: Collection[str] | None = None,
    slices_above: int | None = None,
) -> Path:
    """Measure every predicted case against its reference and write the table of metrics.

    A killed run goes on where it stopped, and ends with the same bytes. When anything is wrong with any case, nothing
    is written to `output`, the other cases' results are kept for the next run, and all findings are raised at once.

    Args:
        predictions: folder of label maps; other files in it are passed over.
        references: folder of label maps with the same names.
        labels: `labels` of `dataset.json`: structure name → id, or ids for a region; may hold background and ignore.
        model: the name under which the results appear.
        output: the CSV file; `<output>.sources.json` is written beside it.
        processes: cases measured at once.
        images: folder of the input images (`<case>_0000<file_ending>`), for the report's overlays.
        dataset: the dataset's name; None takes it from the folder above `references`.
        file_ending: as in `dataset.json`.
        cases: the cases that must have been predicted; None for every reference.
        slices_above: measure slices as well, those with more reference pixels than this per 256 x 256 (`slice_rows`).

    Returns:
        `output`.

    Raises:
        DataError: missing, extra, unreadable or misplaced predictions, or ids that `labels` does not name.
    """
    structures = Structures.of(labels)
    pairs, findings = match(predictions, references, file_ending=file_ending, cases=cases)
    sources = Sources(
        dataset=dataset or dataset_name(references),
        model=model,
        predictions=predictions,
        references=references,
        images=images,
        file_ending=file_ending,
        labels={name: ids if isinstance(ids, int) else list(ids) for name, ids in labels.items()},
        notes={**dataset_notes(references), **_slice_notes(slices_above)},
        versions=_versions(),
    )
    if findings and not pairs:
        raise DataError(findings)
    folders = [str(folder.resolve()) for folder in (predictions, references)]
    settings = {
        "labels": sources.labels,
        "versions": sources.versions,
        "folders": folders,
        **_slice_notes(slices_above),
    }
    ledger = Ledger.beside(output, settings)
    measured = _measure_all(
        pairs, structures, ledger, processes=processes, findings=findings, slices_above=slices_above
    )
    write_sources(sources, output)
    _write_table(output, ((sources.dataset, model, case, *row) for case, rows in measured for row in rows))
    ledger.remove()
    return output


def _measure_all(
    pairs: Sequence[Pair],
    structures: Structures,
    ledger: Ledger,
    *,
    processes: int,
    findings: Sequence[Finding],
    slices_above: int | None,
) -> list[tuple[str, list[Row]]]:
    """Return each case with its rows; raise what is wrong with any of them, and `findings`, if there is anything."""
    tasks = [(pair, structures, ledger, slices_above) for pair in pairs]
    results = in_parallel(_measure_once, tasks, processes=processes, description="Evaluating")
    measured = [(pair.case, r) for pair, r in zip(pairs, results, strict=True) if not isinstance(r, DataError)]
    found = [*findings, *(f for r in results if isinstance(r, DataError) for f in r.findings)]
    if not measured:
        ledger.remove()
    if found:
        raise DataError(found)
    return measured


def _measure_once(task: tuple[Pair, Structures, Ledger, int | None]) -> list[Row] | DataError:
    """Return the rows of one case, from the ledger if it has them; or what is wrong with it."""
    pair, structures, ledger, slices_above = task
    rows = ledger.rows(pair)
    if rows is not None:
        return rows
    try:
        rows = measure(pair, structures, slices_above=slices_above)
    except DataError as error:
        return error
    ledger.add(pair, rows)
    return rows


def _write_table(output: Path, rows: Iterable[tuple[str, str, str, str, str, float]]) -> None:
    with whole_file(output) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((*keys, "" if math.isnan(value) else repr(value)) for *keys, value in rows)


def _slice_notes(slices_above: int | None) -> dict[str, str]:
    """Return which slices were measured, for the settings and for the reader; nothing if none were asked for."""
    return {} if slices_above is None else {"slices": f"more than {slices_above} reference pixels per 256 x 256"}


def _versions() -> dict[str, str]:
    return {
        "nnunet_spine_ext": __version__,
        "Python": platform.python_version(),
        "numpy": np.__version__,
        "SimpleITK": sitk.Version.VersionString(),
    }
