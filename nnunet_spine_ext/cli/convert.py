"""`nnunet_spine convert`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer


def command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Dataset, see --list.", show_default=False)] = None,
    source: Annotated[Path | None, typer.Argument(metavar="SOURCE", help="Its folder.", show_default=False)] = None,
    dataset_id: Annotated[int | None, typer.Option("-d", min=1, max=999, help="Number of the new dataset.")] = None,
    labels: Annotated[str | None, typer.Option("--labels", help="Label scheme, see --list.")] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Cut empty background off; prediction can undo it.")] = False,
    hold_out: Annotated[str, typer.Option("--hold-out", metavar="IDS", help="Test cases: 09,10")] = "",
    output: Annotated[Path | None, typer.Option("-o", help="Folder of raw datasets [nnUNet_raw].")] = None,
    processes: Annotated[int | None, typer.Option("-np", min=1, help="Worker processes.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, print the plan, write nothing.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="Print the table of datasets.")] = False,
) -> None:
    """Convert a published dataset, as downloaded, to nnU-Net raw format.

    All is checked before anything is written; after a kill the same command continues.

    \b
    nnunet_spine convert mrspineseg /data/MRSpineSeg_Challenge_SMU -d 501 --labels all
    """
    converters = find_converters()
    if show_list:
        print(_table(converters))
        return
    if name not in converters.DATASETS:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(converters.DATASETS)}.", param_hint="NAME")
    dataset = converters.DATASETS[name]
    if source is None:
        raise typer.BadParameter("which folder?", param_hint="SOURCE")
    if dataset_id is None:
        raise typer.BadParameter("which number shall the new dataset have?", param_hint="-d")
    if labels is not None and labels not in dataset.scheme_names:
        raise typer.BadParameter(f"{labels!r} is none of {', '.join(dataset.scheme_names)}.", param_hint="--labels")
    if crop and not dataset.can_crop:
        raise typer.BadParameter(f"not offered for {name}.", param_hint="--crop")
    folder = converters.convert(
        name,
        source,
        dataset_id=dataset_id,
        labels=labels,
        crop=crop,
        hold_out=[number.strip() for number in hold_out.split(",") if number.strip()],
        target_root=output,
        processes=processes,
        dry_run=dry_run,
    )
    if not dry_run:
        print(f"{folder} is ready. What was read and changed: {folder / 'conversion_log.json'}")
        print(f"Next: nnUNetv2_plan_and_preprocess -d {dataset_id} --verify_dataset_integrity")


def find_converters() -> ModuleType:
    """Return the package of converters: installed inside ours, in a bare checkout beside it."""
    inside = "nnunet_spine_ext.dataset_conversion"
    try:
        return import_module(inside)
    except ModuleNotFoundError as error:
        if error.name != inside:
            raise
    return import_module("dataset_conversion")


def _table(converters: ModuleType) -> str:
    blocks = []
    for dataset in converters.DATASETS.values():
        rows = {
            "cases": dataset.size,
            "labels": ", ".join(dataset.scheme_names),
            "licence": dataset.licence,
            "ask at": dataset.where,
            "cite": dataset.citation,
            "folder": "; or ".join(dataset.layouts),
        }
        lines = [f"  {key + ':':9}{value}" for key, value in rows.items()]
        blocks.append("\n".join([f"{dataset.name} – {dataset.title}", *lines]))
    return "\n\n".join(blocks)
