"""`nnunet_spine networks`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

DEFAULT_PATCH = (12, 128, 128)


def command(
    name: Annotated[
        Optional[str],  # noqa: UP045  (typer reads it at run time, on Python 3.10 too)
        typer.Argument(metavar="NAME", help="One network, with its sources. [all]", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    patch: Annotated[
        tuple[int, int, int],
        typer.Option("--patch", help="Patch of a default plan, slices first; 1 512 512 for 2D."),
    ] = DEFAULT_PATCH,
    dataset_id: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("-d", help="Take the plan of this preprocessed dataset instead.", show_default=False),
    ] = None,
    plans: Annotated[str, typer.Option("-p", help="With -d: name of its plans.")] = "nnUNetPlans",
    configuration: Annotated[str, typer.Option("-c", help="With -d: configuration.")] = "3d_fullres",
) -> None:
    """List the networks: paper, size, arithmetic, trainers.

    \b
    nnunet_spine networks --patch 12 512 512
    nnunet_spine networks hybrid -d 501 -p SpineHybridPlans -c 3d_fullres
    """
    if as_json and as_markdown:
        raise typer.BadParameter("give --json or --markdown, not both")
    if dataset_id is not None and patch != DEFAULT_PATCH:
        raise typer.BadParameter("give --patch or -d, not both")
    from nnunet_spine_ext.networks import table
    from nnunet_spine_ext.paths import dataset_folder

    dataset = None if dataset_id is None else dataset_folder(dataset_id, variable="nnUNet_preprocessed")
    facts = table.registry_facts(
        table.planned_input(patch, dataset=dataset, plans=plans, configuration=configuration), name=name
    )
    form = table.as_json if as_json else table.as_markdown if as_markdown else table.as_text
    print(form(facts))
