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
    fold: Annotated[
        str, typer.Option("-f", help="Fold that the predictions belong to.  [default: from a fold's validation folder]")
    ] = "",
    seed: Annotated[str, typer.Option(help="Which of several trainings of the same model and fold.")] = "",
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
    distances: Annotated[
        bool,
        typer.Option("--distances/--no-distances", help="Measure HD95, ASSD and NSD: most of the time a case takes."),
    ] = True,
    tolerance_mm: Annotated[
        float, typer.Option("--tolerance", metavar="MM", help="How far apart surfaces may be and agree, for the NSD.")
    ] = 1.0,
    processes: Annotated[int, typer.Option("-np", min=1, help="Cases measured at once.")] = 2,
) -> None:
    """Measure predictions against references: one row per case, structure and metric.

    Which structure was taken for which stands in OUTPUT.confusion.csv beside the table. A killed run goes on where it
    stopped. Every fold of a cross-validation gets its own table; `report` joins them.

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
        fold=fold,
        seed=seed,
        processes=processes,
        subset=subset,
        slices_above=slices_above,
        distances=distances,
        tolerance_mm=tolerance_mm,
    )
    print(as_text(read_results([output])))
    print(f"Every case is in {output}")
