"""`nnunet_spine evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    dataset_id: Annotated[int, typer.Option("-d", help="Number of the dataset.")],
    predictions: Annotated[
        Path, typer.Option("-i", help="Folder that nnUNetv2_predict wrote, or a fold's validation folder.")
    ],
    output: Annotated[Path, typer.Option("-o", help="The table to write, a CSV file.")],
    references: Annotated[
        Path | None, typer.Option("-r", help="Folder of references.  [default: labelsTr or labelsTs of the dataset]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of the model in tables and reports.  [default: from the folder]")
    ] = None,
    subset: Annotated[bool, typer.Option("--subset", help="Predictions may be missing: evaluate those there.")] = False,
    slices_above: Annotated[
        int | None,
        typer.Option(
            "--slices-above",
            min=0,
            metavar="PIXELS",
            help="Also the mean over slices with more reference pixels than this per 256 x 256 (paper 001: 1500).",
        ),
    ] = None,
    processes: Annotated[int, typer.Option("-np", min=1, help="Cases measured at once.")] = 2,
) -> None:
    """Measure predictions against references: one row per case, structure and metric.

    A killed run goes on where it stopped. Every fold of a cross-validation gets its own table; `report` joins them.

    \b
    nnunet_spine evaluate -d 501 -i predictions/SpineHybrid -o SpineHybrid.csv
    """
    from nnunet_spine_ext.evaluation.dataset import evaluate_dataset
    from nnunet_spine_ext.report.results import read_results
    from nnunet_spine_ext.report.tables import as_text

    evaluate_dataset(
        dataset_id,
        predictions,
        references,
        output=output,
        model=model,
        processes=processes,
        subset=subset,
        slices_above=slices_above,
    )
    print(as_text(read_results([output])))
    print(f"Every case is in {output}")
