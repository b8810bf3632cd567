"""`nnunet_spine networks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

# typer reads the annotations at run time, on Python 3.10 too: Optional, not `| None`.


def command(
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="NAME", help="One network, with its sources and cost. [all]", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the reference page, in Markdown.")] = False,
    docs: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--docs", metavar="DIR", help="Write the reference page and a page for each network."),
    ] = None,
    patch: Annotated[
        Optional[tuple[int, int, int]],  # noqa: UP045
        typer.Option("--patch", help="Count for nnU-Net's plan of this patch, slices first; 1 512 512 for 2D."),
    ] = None,
    dataset_id: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("-d", help="Count for the plan of this preprocessed dataset.", show_default=False),
    ] = None,
    plans: Annotated[str, typer.Option("-p", help="With -d: name of its plans.")] = "nnUNetPlans",
    configuration: Annotated[str, typer.Option("-c", help="With -d: configuration.")] = "3d_fullres",
    no_memory: Annotated[bool, typer.Option("--no-memory", help="Leave out the training memory: faster.")] = False,
) -> None:
    """List the networks: paper, dimensions, trainers; for a patch or a plan, also size, arithmetic and memory.

    \b
    nnunet_spine networks
    nnunet_spine networks --patch 12 512 512
    nnunet_spine networks hybrid -d 501 -p SpineHybridPlans -c 3d_fullres
    nnunet_spine networks --docs docs
    """
    if sum([as_json, as_markdown, docs is not None]) > 1:
        raise typer.BadParameter("give one of --json, --markdown and --docs")
    if dataset_id is not None and patch is not None:
        raise typer.BadParameter("give --patch or -d, not both")
    if name is not None and (as_markdown or docs is not None):
        raise typer.BadParameter("--markdown and --docs are about all networks; leave the name out")
    whole_page = as_markdown or docs is not None
    if name is None and patch is None and dataset_id is None and not whole_page:
        from nnunet_spine_ext.networks import listing
        from nnunet_spine_ext.networks.rows import NETWORKS  # unlike the registry, without torch

        rows = list(NETWORKS.values())
        print(listing.as_json(rows) if as_json else listing.as_text(rows))
        return
    from nnunet_spine_ext.networks import pages, table
    from nnunet_spine_ext.networks.facts import MemoryCount
    from nnunet_spine_ext.paths import dataset_folder

    memory: MemoryCount | None = None
    if not no_memory:
        from nnunet_spine_ext.planning.registry_memory import training_memory_gb

        memory = training_memory_gb
    dataset = None if dataset_id is None else dataset_folder(dataset_id, variable="nnUNet_preprocessed")
    planned = table.planned_input(patch or pages.PAGES_PATCH, dataset=dataset, plans=plans, configuration=configuration)
    facts = table.registry_facts(table.shown_rows(planned, name=name), planned, memory=memory)
    if docs is not None:
        print(f"{len(pages.write_docs(docs, facts))} pages written to {docs}")
    elif as_markdown:
        print(pages.reference_page(facts))
    else:
        print(table.as_json(facts) if as_json else table.as_text(facts))
