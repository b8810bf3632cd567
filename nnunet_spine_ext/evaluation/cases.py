"""Compare a folder of predictions with a folder of references: one tidy row per case × label × metric.

    predictions + references ─▶ pairs, findings ─▶ worker processes ─▶ ledger ─▶ metrics.csv and, beside it,
                                                                          .sources.json, .confusion.csv

The table's columns are `dataset, model, fold, seed, case, label, metric, value`. An empty value is one left out (see
`metrics.py`); fold and seed are empty for predictions that belong to none.
"""

from __future__ import annotations

import csv
import math
import platform
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import scipy
import SimpleITK as sitk

from nnunet_spine_ext import __version__
from nnunet_spine_ext.data.files import whole_file
from nnunet_spine_ext.data.parallel import in_parallel
from nnunet_spine_ext.errors import DataError, Finding
from nnunet_spine_ext.evaluation.case import measure
from nnunet_spine_ext.evaluation.confusion import CONFUSION_COLUMNS, confusion_path
from nnunet_spine_ext.evaluation.ledger import Ledger
from nnunet_spine_ext.evaluation.metrics import DEFAULT_TOLERANCE_MM
from nnunet_spine_ext.evaluation.options import Options
from nnunet_spine_ext.evaluation.pairs import Pair, match
from nnunet_spine_ext.evaluation.rows import Measured
from nnunet_spine_ext.evaluation.sources import Sources, dataset_name, dataset_notes, fold_of, write_sources
from nnunet_spine_ext.evaluation.structures import Labels, Structures

COLUMNS = ("dataset", "model", "fold", "seed", "case", "label", "metric", "value")


def evaluate_folder(
    predictions: Path,
    references: Path,
    *,
    labels: Labels,
    model: str,
    output: Path,
    fold: str = "",
    seed: str = "",
    processes: int = 2,
    images: Path | None = None,
    dataset: str | None = None,
    file_ending: str = ".nii.gz",
    cases: Collection[str] | None = None,
    slices_above: int | None = None,
    distances: bool = True,
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
) -> Path:
    """Measure every predicted case against its reference and write the table of metrics.

    A killed run goes on where it stopped, and ends with the same bytes. When anything is wrong with any case, nothing
    is written to `output`, the other cases' results are kept for the next run, and all findings are raised at once.

    Args:
        predictions: folder of label maps; other files in it are passed over.
        references: folder of label maps with the same names.
        labels: `labels` of `dataset.json`: structure name → id, or ids for a region; may hold background and ignore.
        model: the name under which the results appear.
        output: the CSV file; `<output>.sources.json` and `<output>.confusion.csv` are written beside it.
        fold: the fold of a cross-validation that the predictions belong to; empty takes it from a folder
            `fold_<fold>/validation`, and stays empty for any other.
        seed: which of several trainings of the same model and fold; empty if there is but one.
        processes: cases measured at once.
        images: folder of the input images (`<case>_0000<file_ending>`), for the report's overlays.
        dataset: the dataset's name; None takes it from the folder above `references`.
        file_ending: as in `dataset.json`.
        cases: the cases that must have been predicted; None for every reference.
        slices_above: measure slices as well, those with more reference pixels than this per 256 x 256 (`slice_rows`).
        distances: measure surface distances (HD95, ASSD, NSD): most of the time a case takes.
        tolerance_mm: how far apart surfaces may be and still agree, for the NSD.

    Returns:
        `output`.

    Raises:
        DataError: missing, extra, unreadable or misplaced predictions, or ids that `labels` does not name.
        SpineExtError: the label table or an option makes no sense.
    """
    options = Options(distances=distances, tolerance_mm=tolerance_mm, slices_above=slices_above)
    structures = Structures.of(labels)
    pairs, findings = match(predictions, references, file_ending=file_ending, cases=cases)
    sources = Sources(
        dataset=dataset or dataset_name(references),
        model=model,
        fold=fold or fold_of(predictions),
        seed=seed,
        predictions=predictions,
        references=references,
        images=images,
        file_ending=file_ending,
        labels={name: ids if isinstance(ids, int) else list(ids) for name, ids in labels.items()},
        notes={**dataset_notes(references), **options.notes},
        versions=_versions(),
    )
    if findings and not pairs:
        raise DataError(findings)
    folders = [str(folder.resolve()) for folder in (predictions, references)]
    settings = {
        "labels": sources.labels,
        "versions": sources.versions,
        "folders": folders,
        "options": asdict(options),
    }
    ledger = Ledger.beside(output, settings)
    measured = _measure_all(pairs, structures, options, ledger, processes=processes, findings=findings)
    write_sources(sources, output)
    keys = (sources.dataset, model, sources.fold, seed)
    _write_table(
        confusion_path(output), CONFUSION_COLUMNS, ((*keys, case, *row) for case, m in measured for row in m.confusion)
    )
    _write_table(output, COLUMNS, ((*keys, case, *row) for case, m in measured for row in m.rows))
    ledger.remove()
    return output


def _measure_all(
    pairs: Sequence[Pair],
    structures: Structures,
    options: Options,
    ledger: Ledger,
    *,
    processes: int,
    findings: Sequence[Finding],
) -> list[tuple[str, Measured]]:
    """Return what was measured of each case; raise what is wrong with any, and `findings`, if there is anything."""
    tasks = [(pair, structures, options, ledger) for pair in pairs]
    results = in_parallel(_measure_once, tasks, processes=processes, description="Evaluating")
    measured = [(pair.case, r) for pair, r in zip(pairs, results, strict=True) if not isinstance(r, DataError)]
    found = [*findings, *(f for r in results if isinstance(r, DataError) for f in r.findings)]
    if not measured:
        ledger.remove()
    if found:
        raise DataError(found)
    return measured


def _measure_once(task: tuple[Pair, Structures, Options, Ledger]) -> Measured | DataError:
    """Return what is measured of one case, from the ledger if it is there; or what is wrong with the case."""
    pair, structures, options, ledger = task
    measured = ledger.measured(pair)
    if measured is not None:
        return measured
    try:
        measured = measure(pair, structures, options)
    except DataError as error:
        return error
    ledger.add(pair, measured)
    return measured


def _write_table(output: Path, columns: Sequence[str], rows: Iterable[tuple[str | float, ...]]) -> None:
    """Write a table whose last column is a number; an empty cell for NaN."""
    with whole_file(output) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows((*keys, "" if _is_left_out(value) else repr(value)) for *keys, value in rows)


def _is_left_out(value: str | float) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _versions() -> dict[str, str]:
    return {
        "nnunet_spine_ext": __version__,
        "Python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "SimpleITK": sitk.Version.VersionString(),
    }
