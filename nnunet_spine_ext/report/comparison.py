"""The report of a whole comparison: its folder in, page, tables and figures out.

    FOLDER/metrics.csv, metrics/*.csv.sources.json, confusion.csv, costs.csv, robustness.csv, budget.csv, jobs.csv,
    comparison.json, environment.json ─▶ FOLDER/report.html, FOLDER/tables/, FOLDER/figures/

All but metrics.csv may be absent; the page then says in a line what brings the part that is not there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nnunet_spine_ext.evaluation.sources import read_sources
from nnunet_spine_ext.report.comparison_files import Comparison, read_comparison
from nnunet_spine_ext.report.html import DEFAULT_OVERLAY_CASES, ReportInputs, write_page
from nnunet_spine_ext.report.inputs import placed_by_file, placed_by_fold, source_file
from nnunet_spine_ext.report.results import Results, read_results

METRICS_FILE = "metrics.csv"
JOB_TABLES = "metrics"
PAGE = "report.html"
TABLES = "tables"
FIGURES = "figures"


def write_comparison_report(
    folder: Path, *, title: str | None = None, overlay_cases: int = DEFAULT_OVERLAY_CASES
) -> Path:
    """Write `report.html`, `tables/` and `figures/` of a comparison; the same files give the same bytes, dates aside.

    Args:
        folder: of the comparison, see above.
        title: heading of the page; None names the dataset.
        overlay_cases: how many cases are shown as pictures, the worst first.

    Returns:
        The page.

    Raises:
        DataError: a table cannot be read, or something cannot be written.
        SpineExtError: the tables do not belong together.
    """
    results = read_results([folder / METRICS_FILE])
    jobs = sorted((folder / JOB_TABLES).glob("*.csv"))
    notes = {table: note for table in jobs if (note := read_sources(table)) is not None}
    joined = {file: note for file in results.files if (note := read_sources(file)) is not None}
    comparison = _with_results(read_comparison(folder), results)
    known = tuple(notes.values()) or tuple(joined.values())
    inputs = ReportInputs(
        results=results,
        comparison=comparison,
        sources=known,
        placed={**placed_by_file(results, joined), **placed_by_fold(results, notes.values())},
        files=tuple(source_file(results, file, known) for file in results.files),
    )
    return write_page(
        inputs,
        folder / PAGE,
        title=title or f"Comparison on {results.dataset}",
        overlay_cases=overlay_cases,
        tables=folder / TABLES,
        figures=folder / FIGURES,
    )


def _with_results(comparison: Comparison, results: Results) -> Comparison:
    """Return the comparison without a baseline that has no results yet, or failed: the others have, and are shown."""
    baseline = comparison.baseline
    if baseline is None or baseline in results.models:
        return comparison
    note = f"The baseline, {baseline}, has no results: the models are compared with each other only."
    return replace(comparison, baseline=None, notes=(note, *comparison.notes))
