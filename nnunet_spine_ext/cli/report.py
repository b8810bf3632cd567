"""`nnunet_spine report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    metrics: Annotated[
        list[Path], typer.Argument(metavar="METRICS.csv…", help="Tables that `nnunet_spine evaluate` wrote.")
    ],
    output: Annotated[Path, typer.Option("-o", help="The page to write, an HTML file.")],
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Comparison of segmentation models",
    cases: Annotated[int, typer.Option(min=0, help="How many cases to show as pictures, the worst first.")] = 8,
    baseline: Annotated[
        str | None, typer.Option(help="Model that the others are tested against.  [default: every two models]")
    ] = None,
    tables: Annotated[
        Path | None, typer.Option(help="Folder for the page's tables as CSV, Markdown and LaTeX.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for the page's figures as PNG and PDF.")] = None,
) -> None:
    """Compare models on one HTML page: tables, statistics, plots, mid-sagittal pictures of the worst cases.

    The page needs no network and no other file.

    \b
    nnunet_spine report SpineHybrid.csv stock.csv -o report.html
    """
    from nnunet_spine_ext.report.html import write_report

    page = write_report(
        metrics, output, title=title, overlay_cases=cases, baseline=baseline, tables=tables, figures=figures
    )
    print(f"Open {page} in a browser.")
