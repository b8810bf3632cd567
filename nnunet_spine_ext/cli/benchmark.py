"""`nnunet_spine benchmark`: init, run, status, robustness, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from nnunet_spine_ext.cli.spread import SpreadCommand

# typer reads the annotations at run time, on Python 3.10 too: Optional, not `| None`.

app = typer.Typer(
    help="Compare models on the same folds and budget, with stock nnU-Net always among them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Of the comparison, with its benchmark.yaml.")]

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as in a shell."""


@app.command(cls=SpreadCommand)
def init(
    dataset_id: Annotated[int, typer.Option("-d", help="Number of the dataset.")],
    trainers: Annotated[list[str], typer.Option("-tr", help="Trainers to compare, several after one flag.")],
    output: Annotated[Path, typer.Option("-o", help="Folder of the new comparison.")] = Path("comparison"),
    configurations: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("-c", help="Configurations. [3d_fullres]", show_default=False),
    ] = None,
    plans: Annotated[str, typer.Option("-p", help="Plans of all models.")] = "nnUNetPlans",
    folds: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option("-f", help="Folds. [0 1 2 3 4]", show_default=False),
    ] = None,
    epochs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--epochs", help="The same length for all. [each trainer's own]", show_default=False),
    ] = None,
    iterations: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--iterations", help="Of an epoch. [250]", show_default=False),
    ] = None,
    seeds: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option("--seeds", help="Runs of each fold. [0]", show_default=False),
    ] = None,
    gpu_memory_target: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("-gpu_memory_target", help="GB that every model must fit. [no limit]", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option("-device", help="cuda or cpu.")] = "cuda",
    jobs_at_once: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--jobs-at-once", help="[one per GPU, one on a CPU]", show_default=False),
    ] = None,
    without_baseline: Annotated[
        bool, typer.Option("--without-baseline", help="Leave stock nnU-Net out; the report says so.")
    ] = False,
) -> None:
    """Write the plan of a comparison, a commented benchmark.yaml.

    \b
    nnunet_spine benchmark init -d 501 -tr SpineHybridTrainer SpineUNetPPTrainer --epochs 100 -o comparison
    """
    from nnunet_spine_ext.benchmark.plan import FOLDS, Entry, Plan
    from nnunet_spine_ext.benchmark.yaml_template import write_plan

    chosen = tuple(configurations or ["3d_fullres"])
    plan = Plan(
        dataset_id=dataset_id,
        entries=tuple(Entry(trainer=trainer, configurations=chosen, plans=plans) for trainer in trainers),
        folds=tuple(folds or FOLDS),
        seeds=tuple(seeds or [0]),
        epochs=epochs,
        iterations=iterations,
        gpu_memory_target_gb=gpu_memory_target,
        device=device,
        jobs_at_once=jobs_at_once,
        with_baseline=not without_baseline,
    )
    print(f"{write_plan(plan, output)} is written. Look it over, then: nnunet_spine benchmark run {output}")


@app.command(cls=SpreadCommand)
def run(
    folder: Folder,
    slurm: Annotated[bool, typer.Option("--slurm", help="Submit the jobs to Slurm (extra [slurm]).")] = False,
    collect: Annotated[bool, typer.Option("--collect", help="Run no job; evaluate and report those done.")] = False,
    jobs: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--job", help="Run these jobs alone, and report nothing.", show_default=False),
    ] = None,
    without_baseline: Annotated[
        bool, typer.Option("--without-baseline", help="Leave stock nnU-Net out; the report says so.")
    ] = False,
    find_best: Annotated[
        bool, typer.Option("--find-best", help="Let nnU-Net choose the best model or ensemble at the end.")
    ] = False,
    processes: Annotated[int, typer.Option("-np", min=1, help="Cases evaluated at once.")] = 2,
) -> None:
    """Train, validate, evaluate and report all that is left of a comparison.

    Folds that nnU-Net has trained already count. After Ctrl-C or a kill, the same command goes on. A job that fails
    does not stop the others; exit code 1 if one did.

    \b
    nnunet_spine benchmark run comparison
    nnunet_spine benchmark run comparison --slurm
    """
    from nnunet_spine_ext.benchmark.run import run as run_comparison

    try:
        outcome = run_comparison(
            folder,
            jobs=jobs or (),
            collect_only=collect,
            slurm=slurm,
            without_baseline=without_baseline,
            find_best=find_best,
            processes=processes,
        )
    except KeyboardInterrupt:
        print(f"\nStopped; nothing is lost. Go on with: nnunet_spine benchmark run {folder}")
        raise typer.Exit(INTERRUPTED) from None
    for problem in outcome.problems:
        print(problem)
    if outcome.report is not None:
        print(f"Open {outcome.report} in a browser.")
    if outcome.problems:
        raise typer.Exit(1)


@app.command()
def status(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how far every job is, from the disk alone: from any machine that sees the folders.

    \b
    nnunet_spine benchmark status comparison
    """
    import json

    from nnunet_spine_ext.benchmark.comparison import read_comparison
    from nnunet_spine_ext.benchmark.jobs.status import as_json as to_json
    from nnunet_spine_ext.benchmark.jobs.status import as_table, status_of

    comparison = read_comparison(folder)
    rows = status_of(comparison)
    print(json.dumps(to_json(comparison, rows), indent=2) if as_json else as_table(rows))


@app.command(cls=SpreadCommand)
def robustness(
    folder: Folder,
    perturbations: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--perturbation", help="Only these, such as noise. [all]", show_default=False),
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Perturb imagesTs instead of the validation cases.")] = False,
    processes: Annotated[int, typer.Option("-np", min=1, help="Cases perturbed and measured at once.")] = 2,
) -> None:
    """Predict noisy, blurred, moved … images with the trained models, and add the curves to the report.

    \b
    nnunet_spine benchmark robustness comparison --perturbation noise blur
    """
    from nnunet_spine_ext.benchmark.after import measure_robustness

    print(f"Open {measure_robustness(folder, perturbations, test=test, processes=processes)} in a browser.")


@app.command()
def export(
    folder: Folder,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", help="The Snakefile. [FOLDER/Snakefile]", show_default=False),
    ] = None,
) -> None:
    """Write the jobs of a comparison as a Snakefile.

    \b
    nnunet_spine benchmark export comparison && snakemake --snakefile comparison/Snakefile --cores all
    """
    from nnunet_spine_ext.benchmark.jobs.snakefile import export as write_snakefile

    print(f"{write_snakefile(folder, output)} is written.")
