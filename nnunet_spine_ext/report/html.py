"""The report: one HTML file that needs no network, no server and no other file.

metrics.csv … ─▶ results ─▶ tables, figures, cautions ─┐
metrics.csv.sources.json … ─▶ overlays ─────────────────┴─▶ report.html.j2 ─▶ report.html
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from nnunet_spine_ext import __version__
from nnunet_spine_ext.data.files import sha256_of, write_text, writing
from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.evaluation.metrics import METRICS
from nnunet_spine_ext.evaluation.sources import Sources, read_sources
from nnunet_spine_ext.evaluation.structures import Structures
from nnunet_spine_ext.report import tables
from nnunet_spine_ext.report.cautions import cautions
from nnunet_spine_ext.report.figures import Series, box_plot
from nnunet_spine_ext.report.overlays import draw_cases
from nnunet_spine_ext.report.palette import colour, css
from nnunet_spine_ext.report.results import Results, read_results

DEFAULT_TITLE = "Comparison of segmentation models"
DEFAULT_OVERLAY_CASES = 8


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One table of metrics, for the footer."""

    name: str
    sha256: str
    rows: int
    predictions: str
    references: str
    versions: str


def write_report(
    metric_files: Sequence[Path],
    output: Path,
    *,
    title: str = DEFAULT_TITLE,
    overlay_cases: int = DEFAULT_OVERLAY_CASES,
) -> Path:
    """Write one self-contained HTML page that compares the models in tables of metrics.

    Args:
        metric_files: tables that `evaluate_folder` wrote, of one dataset; the `.sources.json` beside a table, if it is
            there, tells where the images for the overlays lie. The folds of a model may be in several tables.
        output: the HTML file.
        title: heading of the page.
        overlay_cases: how many cases are shown as pictures, the worst first.

    Returns:
        `output`.

    Raises:
        DataError: a table cannot be read, or `output` cannot be written.
        SpineExtError: the tables do not belong together.
    """
    if overlay_cases < 0:
        raise SpineExtError(f"The number of cases to show is {overlay_cases}; give 0 or more.")
    results = read_results(metric_files)
    sources = {file: note for file in metric_files if (note := read_sources(file)) is not None}
    page = _render(results, sources, title=title, overlay_cases=overlay_cases)
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, output)
    return output


def _render(results: Results, sources: dict[Path, Sources], *, title: str, overlay_cases: int) -> str:
    cases = tables.case_table(results)
    overlays, missing = draw_cases(cases[:overlay_cases], results.models, _placed(results, sources))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template("report.html.j2").render(
        title=title,
        results=results,
        metrics=METRICS,
        shown=tables.shown,
        model_colours=[css(colour(i)) for i in range(len(results.models))],
        cautions=cautions(results, list(sources.values()), title=title),
        summary_headings=[(heading, METRICS[key]) for heading, _, key in tables.summary_columns(results)],
        summary=tables.summary(results),
        case_plot=_case_plot(results),
        pairs=tables.pairs(results),
        structure_tables=[tables.structure_table(results, metric) for metric in results.metrics],
        structure_plot=_structure_plot(results),
        cases=cases,
        overlays=overlays,
        overlays_missing=missing,
        legend=_legend(sources),
        files=[_source_file(results, i, sources.get(file)) for i, file in enumerate(results.files)],
        versions=f"nnunet_spine_ext {__version__}, Python {platform.python_version()}",
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )


def _breakable(name: str) -> Markup:
    """Return a name that may be broken after two underscores: nnU-Net's names are long."""
    return Markup("__<wbr>").join(name.split("__"))


def _placed(results: Results, sources: dict[Path, Sources]) -> dict[tuple[str, str], Sources]:
    there = results.table[["file", "model", "case"]].drop_duplicates()
    files = (results.files[i] for i in there["file"])
    rows = zip(files, there["model"], there["case"], strict=True)
    return {(model, case): sources[file] for file, model, case in rows if file in sources}


def _case_plot(results: Results) -> str:
    rows = [
        Series(
            label=model,
            values=tuple(results.case_means(model=model, metric="dice").items()),  # type: ignore[arg-type]
            colour_index=i,
            name=model,
        )
        for i, model in enumerate(results.models)
    ]
    return box_plot([rows], title="Mean Dice of every case, by model", axis="mean Dice of a case", row_px=34)


def _structure_plot(results: Results) -> str:
    groups = [
        [
            Series(
                label=structure if i == 0 else "",
                values=tuple(results.values(model=model, label=structure, metric="dice").items()),  # type: ignore[arg-type]
                colour_index=i,
                name=f"{structure}, {model}",
            )
            for i, model in enumerate(results.models)
        ]
        for structure in results.structures
    ]
    return box_plot(groups, title="Dice by structure and model", axis="Dice", row_px=16)


def _legend(sources: dict[Path, Sources]) -> list[tuple[str, str]]:
    """Return each structure's name and colour."""
    for note in sources.values():
        return [(s.name, css(colour(i))) for i, s in enumerate(Structures.of(note.labels).each)]
    return []


def _source_file(results: Results, position: int, note: Sources | None) -> SourceFile:
    file = results.files[position]

    def near(folder: Path) -> str:
        return os.path.relpath(folder, file.resolve().parent)

    return SourceFile(
        name=file.name,
        sha256=sha256_of(file),
        rows=int((results.table["file"] == position).sum()),
        predictions="unknown" if note is None else near(note.predictions),
        references="unknown" if note is None else near(note.references),
        versions="unknown"
        if note is None
        else ", ".join(f"{name} {version}" for name, version in note.versions.items()),
    )
