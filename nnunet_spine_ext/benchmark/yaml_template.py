"""Write a commented `benchmark.yaml`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nnunet_spine_ext.benchmark.plan import STOCK_PLANS, Entry, Plan
from nnunet_spine_ext.benchmark.yaml_plan import PLAN_FILE, read_plan
from nnunet_spine_ext.data.files import make_folder, write_text
from nnunet_spine_ext.errors import SetupError


def write_plan(plan: Plan, folder: Path) -> Path:
    """Write a plan as the commented `benchmark.yaml` of a new comparison, and check it.

    Args:
        plan: what to compare; its entries must share configurations and plans (a file edited later need not).
        folder: of the comparison; made if need be.

    Returns:
        The file.

    Raises:
        SetupError: the folder holds a plan already.
        DataError: the plan is wrong (nothing is left behind then), or cannot be written.
    """
    file = folder / PLAN_FILE
    if file.exists():
        raise SetupError(f"{file} is there already. Edit it, or name another folder with -o.")
    make_folder(folder)
    draft = folder / f".new.{PLAN_FILE}"
    write_text(plan_text(plan), draft)
    try:
        read_plan(draft)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return file


def plan_text(plan: Plan) -> str:
    """Return the text of the file."""
    first = plan.entries[0] if plan.entries else Entry(trainer="", configurations=("3d_fullres",))
    trainers = "\n".join(f"  - {entry.trainer}" for entry in plan.entries)
    rows = {
        "PLANS": _row("plans", first.plans or STOCK_PLANS, "with nnU-Net's own for all, only the network differs"),
        "FOLDS": _row("folds", _listed(plan.folds), "all five: then every case is predicted exactly once"),
        "SEEDS": _row("seeds", _listed(plan.seeds), "further runs, [0, 1, 2], show how much varies by chance"),
        "EPOCHS": _row("epochs", plan.epochs),
        "ITERATIONS": _row("iterations", plan.iterations),
        "TARGET": _row("gpu_memory_target", plan.gpu_memory_target_gb, "GB that all must fit; larger presets are out"),
        "DEVICE": _row("device", plan.device, "cuda or cpu"),
        "AT_ONCE": _row("jobs_at_once", plan.jobs_at_once, "empty: one per GPU, one on a CPU"),
        "LOADING": _row("loading_processes", plan.loading_processes, "nnU-Net's nnUNet_n_proc_DA; empty: its choice"),
        "KEEP": _row("keep_epochs", _listed(plan.keep_epochs), "[10, 50, 100]: also evaluated after so many epochs"),
        "BEST": _row("find_best", str(plan.find_best).lower(), "let nnU-Net choose the best model or ensemble"),
        "GPUS": _row("  gpus_per_node", int(plan.device != "cpu")),
        "BASELINE": _row("baseline", "auto" if plan.with_baseline else "none"),
        "CONFIGURATIONS": _row("configurations", _listed(first.configurations)),
        "DATASET": _row("dataset", plan.dataset_id),
        "TRAINERS": f"trainers:\n{trainers}",
    }
    return _TEXT.format(**rows)


_TEXT = """\
# A comparison of models. Run it: nnunet_spine benchmark run THIS_FOLDER
# Folds that nnUNetv2_train has trained already count; after a kill the same command goes on.

{DATASET}

# Each model is a trainer, plans and a configuration. Where they are not the same for all, write for example
#   - {{trainer: SpineRes50UNetTrainer, plans: SpineRes50UNetPlans, configurations: [25d], title: Res50_UNet}}
{TRAINERS}
{CONFIGURATIONS}
{PLANS}

{FOLDS}
{SEEDS}

# The same budget for all. Empty: each trainer's own length (nnU-Net: 1000 epochs of 250 iterations).
{EPOCHS}
{ITERATIONS}

# Stock nnU-Net is always one of the models: for each network the preset (plain, ResEnc M, L or XL) whose counted
# training memory and compute are closest. `none` leaves it out, and the report says so.
{BASELINE}
{TARGET}

{DEVICE}
{AT_ONCE}
{LOADING}
{KEEP}
{BEST}

# For `run --slurm`: time and memory of one job, and whatever else sbatch takes. A job that runs out of time goes on
# in a new one; nnU-Net saves a checkpoint to go on from every 50 epochs, and whenever its pseudo Dice is a new best.
slurm:
  timeout_min: 1440
  cpus_per_task: 12
  mem_gb: 48
{GPUS}
  # partition: gpu
  # array_parallelism: 8
"""


def _row(key: str, value: object, note: str = "") -> str:
    """Return a line of the file: nothing for a value that is left open, a note in a column of its own."""
    line = f"{key}: {value:g}" if isinstance(value, float) else f"{key}:" if value is None else f"{key}: {value}"
    return f"{line:<32} # {note}" if note else line


def _listed(values: Iterable[object]) -> str:
    return "[" + ", ".join(str(value) for value in values) + "]"
