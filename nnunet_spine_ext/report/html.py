"""The report: one HTML file that needs no network, no server and no other file.

metrics.csv … ─▶ results ─▶ analysis ─▶ sections of sheets and figures ─┬─▶ report.html.j2 ─▶ report.html
metrics.csv.sources.json … ─▶ overlays ──────────────────────────────────┘
                                        the same sheets and figures ──────▶ tables/, figures/
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from nnunet_spine_ext import __version__
from nnunet_spine_ext.data.files import make_folder, write_text
from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.evaluation.confusion import confusion_path
from nnunet_spine_ext.evaluation.metrics import METRICS, Metric
from nnunet_spine_ext.evaluation.sources import Sources, read_sources
from nnunet_spine_ext.evaluation.structures import Structures
from nnunet_spine_ext.report.analysis import Analysis, analyse
from nnunet_spine_ext.report.assembly import assemble
from nnunet_spine_ext.report.blocks import Drawn, Fold, Section, Words
from nnunet_spine_ext.report.cautions import cautions
from nnunet_spine_ext.report.charts.marks import key, pieces
from nnunet_spine_ext.report.charts.svg import draw
from nnunet_spine_ext.report.comparison_files import Comparison, read_confusions
from nnunet_spine_ext.report.inputs import SourceFile, placed_by_file, source_file, trainer_of
from nnunet_spine_ext.report.numbers import shown
from nnunet_spine_ext.report.overlays import Placed, draw_cases
from nnunet_spine_ext.report.palette import colour, css
from nnunet_spine_ext.report.results import Results, read_results
from nnunet_spine_ext.report.sections.cases import worst_first
from nnunet_spine_ext.report.sheet_files import write_sheets
from nnunet_spine_ext.report.sheets import Sheet

DEFAULT_TITLE = "Comparison of segmentation models"
DEFAULT_OVERLAY_CASES = 8
_LETTERS_A_LINE = 28


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """All that a report is made of."""

    results: Results
    comparison: Comparison
    sources: tuple[Sources, ...]
    """What is known about the predictions."""
    placed: Placed
    """(model, case) → where its files lie."""
    files: tuple[SourceFile, ...]
    """For the last section."""


def write_report(
    metric_files: Sequence[Path],
    output: Path,
    *,
    title: str = DEFAULT_TITLE,
    overlay_cases: int = DEFAULT_OVERLAY_CASES,
    baseline: str | None = None,
    tables: Path | None = None,
    figures: Path | None = None,
) -> Path:
    """Write one self-contained HTML page that compares the models in tables of metrics.

    Args:
        metric_files: tables that `evaluate_folder` wrote, of one dataset; the `.sources.json` beside a table, if it is
            there, tells where the images for the overlays lie, the `.confusion.csv` which structures were confused.
            The folds of a model may be in several tables.
        output: the HTML file.
        title: heading of the page.
        overlay_cases: how many cases are shown as pictures, the worst first.
        baseline: the model that the others are tested against; None tests every two models.
        tables: folder for the page's tables as CSV, Markdown and LaTeX; None writes none.
        figures: folder for its figures as PNG and PDF; None writes none.

    Returns:
        `output`.

    Raises:
        DataError: a table cannot be read, or `output` cannot be written.
        SpineExtError: the tables do not belong together, or no model is called `baseline`.
    """
    results = read_results(metric_files)
    sources = {file: note for file in metric_files if (note := read_sources(file)) is not None}
    confusion = read_confusions(confusion_path(file) for file in metric_files)
    inputs = ReportInputs(
        results=results,
        comparison=Comparison(baseline=baseline, confusion=confusion),
        sources=tuple(sources.values()),
        placed=placed_by_file(results, sources),
        files=tuple(source_file(results, file, [sources[file]] if file in sources else []) for file in results.files),
    )
    return write_page(inputs, output, title=title, overlay_cases=overlay_cases, tables=tables, figures=figures)


def write_page(
    inputs: ReportInputs,
    output: Path,
    *,
    title: str,
    overlay_cases: int = DEFAULT_OVERLAY_CASES,
    tables: Path | None = None,
    figures: Path | None = None,
) -> Path:
    """Write the page, and its tables and figures as files; see `write_report`."""
    if overlay_cases < 0:
        raise SpineExtError(f"The number of cases to show is {overlay_cases}; give 0 or more.")
    analysis = analyse(inputs.results, inputs.comparison)
    by_folder = {source.model: trainer for source in inputs.sources if (trainer := trainer_of(source))}
    sections, missing = assemble(analysis, {**by_folder, **inputs.comparison.trainers})
    page = _render(inputs, analysis, sections, title=title, overlay_cases=overlay_cases, missing=missing)
    make_folder(output.parent)
    if tables is not None:
        write_sheets((sheet for section in sections for sheet in section.sheets), tables)
    if figures is not None:
        from nnunet_spine_ext.report.charts.plots import write_figures  # matplotlib takes a second to import

        write_figures((drawn for section in sections for drawn in section.drawn), figures)
    write_text(page, output)
    return output


def _render(
    inputs: ReportInputs,
    analysis: Analysis,
    sections: list[Section],
    *,
    title: str,
    overlay_cases: int,
    missing: Sequence[object],
) -> str:
    results = inputs.results
    overlays, overlays_missing = draw_cases(worst_first(results)[:overlay_cases], results.models, inputs.placed)
    return _environment().get_template("report.html.j2").render(
        title=title,
        results=results,
        sections=sections,
        missing=missing,
        baseline=inputs.comparison.baseline,
        metrics=METRICS,
        defined=_defined(results),
        cautions=cautions(analysis, inputs.sources, title=title),
        overlays=overlays,
        overlays_missing=overlays_missing,
        legend=_legend(inputs.sources),
        files=inputs.files,
        environment=inputs.comparison.environment,
        versions=f"nnunet_spine_ext {__version__}, Python {platform.python_version()}",
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )  # fmt: skip


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": breakable, "code": code}
    environment.tests |= {
        name: lambda block, kind=kind: isinstance(block, kind)
        for name, kind in (("words", Words), ("sheet", Sheet), ("drawn", Drawn), ("fold", Fold))
    }
    environment.globals |= {"draw": draw, "mark": key, "shown": shown}
    return environment


def breakable(name: str) -> Markup:
    """Return a name that may be broken at its underscores: nnU-Net's names are long."""
    parts = pieces(name, _LETTERS_A_LINE)
    return Markup("").join(escape(part) + (Markup("<wbr>") if part.endswith("_") else "") for part in parts)


def code(text: str) -> Markup:
    """Return a line in which what stands between backticks is code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def _defined(results: Results) -> list[Metric]:
    """Return the metrics that occur, in the order of the table of metrics; of structures, then of cases."""
    there = set(results.table["metric"])
    of_cases = (metric for key, metric in METRICS.items() if key in there and metric not in results.metrics)
    return [*results.metrics, *of_cases]


def _legend(sources: Iterable[Sources]) -> list[tuple[str, str]]:
    """Return each structure's name and colour."""
    for note in sources:
        return [(s.name, css(colour(i))) for i, s in enumerate(Structures.of(note.labels).each)]
    return []
