"""`nnunet_spine plan`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

# typer reads the annotations at run time, on Python 3.10 too: Optional, not `| None`.


def command(
    dataset_id: Annotated[int, typer.Option("-d", help="Dataset id, as in Dataset501_Name.")],
    trainer: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("-tr", help="Trainer whose network and loss are counted. [default: SpineHybridTrainer]"),
    ] = None,
    gpu_memory_target: Annotated[
        float, typer.Option("-gpu_memory_target", help="GB that a training step may need, as nvidia-smi shows it.")
    ] = 8,
    configurations: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "-c",
            help="Configuration to plan, also several: -c 2d 3d_fullres; 25d for patches of several slices of 2d's "
            "data. [default: all of nnU-Net's, or the one that the recipe fixes]",
        ),
    ] = None,
    depth: Annotated[str, typer.Option("-depth", help="Patches across thick slices: full, stock, or auto.")] = "auto",
    overwrite_plans_name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("-overwrite_plans_name", help="Another name for the plans file."),
    ] = None,
    plans: Annotated[str, typer.Option("-p", help="With --check: the plans to count.")] = "nnUNetPlans",
    only_check: Annotated[bool, typer.Option("--check", help="Count existing plans (-p); write nothing.")] = False,
    processes: Annotated[int, typer.Option("-np", help="Processes for extracting a missing fingerprint.")] = 2,
    more: Annotated[Optional[list[str]], typer.Argument(metavar="CONF", hidden=True)] = None,  # noqa: UP045
) -> None:
    """Plan patch and batch sizes for a trainer so that its counted training step fits the memory target.

    Writes <Trainer>Plans.json beside nnU-Net's own plans, which stay as they are, and shares their preprocessed data.

    \b
    nnunet_spine plan -d 501 -tr SpineHybridTrainer -gpu_memory_target 24
    nnunet_spine plan -d 501 -tr SpineRes50UNetTrainer -c 25d
    nnunet_spine plan -d 501 -p nnUNetPlans --check
    """
    if depth not in ("auto", "full", "stock"):
        raise typer.BadParameter(f"{depth!r} is none of auto, full, stock", param_hint="-depth")
    if more and not configurations:
        raise typer.BadParameter(f"what is {' '.join(more)}? Configurations follow -c", param_hint="-c")
    from nnunet_spine_ext.planning.planner import check, plan

    if only_check:
        check(dataset_id, plans, trainer=trainer)
        return
    plan(
        dataset_id,
        trainer=trainer or "SpineHybridTrainer",
        gpu_memory_target_gb=gpu_memory_target,
        depth=depth,  # type: ignore[arg-type]
        configurations=[*(configurations or []), *(more or [])] or None,
        overwrite_plans_name=overwrite_plans_name,
        processes=processes,
    )
