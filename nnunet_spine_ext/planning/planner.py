"""`plan`: a plans file for one trainer whose training step fits a memory target, counted; `check`: count a plans file.

A new file beside nnU-Net's own: `nnUNetPlans.json` is read, never written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tqdm import tqdm

import nnunet_spine_ext
from nnunet_spine_ext.data.files import read_json_if_there
from nnunet_spine_ext.errors import PlanError, SetupError
from nnunet_spine_ext.paths import dataset_folder, nnunet_folder
from nnunet_spine_ext.planning.comparison import Row, compare, table
from nnunet_spine_ext.planning.counting import ConfigurationCounter
from nnunet_spine_ext.planning.depth import DepthMode
from nnunet_spine_ext.planning.plans_file import SPINE_KEY, merged, read_dataset, read_plans, write_plans
from nnunet_spine_ext.planning.sharing import STOCK_PLANS_NAME, is_preprocessed, share_preprocessed_data
from nnunet_spine_ext.planning.slice_patches import SLICES_CONFIGURATION
from nnunet_spine_ext.planning.spine_planner import SpinePlanner
from nnunet_spine_ext.planning.stock import stock_plans
from nnunet_spine_ext.planning.trainers import find_trainer, plans_name_of

Say = Callable[[str], object]

NNUNET_CONFIGURATIONS = ("2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres")
CONFIGURATIONS = (*NNUNET_CONFIGURATIONS, SLICES_CONFIGURATION)
"""What can be planned: nnU-Net's own, and patches of several slices. Others in a plans file are the user's own."""

TRAINED_FIRST = ("3d_fullres", SLICES_CONFIGURATION)
"""Which configuration the command for training is shown for, if it was planned."""

CASCADE = {"3d_lowres", "3d_fullres", "3d_cascade_fullres"}
"""One needs the other: the low resolution hands its labels to the cascade, which inherits from full resolution."""


def plan(
    dataset_id: int,
    *,
    trainer: str = "SpineHybridTrainer",
    gpu_memory_target_gb: float = 8,
    depth: DepthMode = "auto",
    configurations: Sequence[str] | None = None,
    overwrite_plans_name: str | None = None,
    processes: int = 2,
    say: Say = print,
) -> Path:
    """Write the plans for a trainer, `nnUNet_preprocessed/Dataset<ID>_<Name>/<Trainer without "Trainer">Plans.json`.

    The fingerprint of the dataset is extracted first if there is none. Planning again replaces the planned
    configurations and keeps the user's own.

    Args:
        dataset_id: the number in `Dataset<ID>_<Name>`, which must be in nnUNet_raw.
        trainer: any trainer that nnU-Net finds; its network and loss are counted.
        gpu_memory_target_gb: what one training step may need in all, in GB of 2^30 bytes, as nvidia-smi shows it.
        depth: patches across thick slices: "full" for all slices, "stock" as nnU-Net does, "auto" for full depth
            where enough of each slice is left.
        configurations: of nnU-Net's four, and 25d (the data of 2d in patches of several slices, for networks of ours);
            `None` for all of nnU-Net's that its rules see a need for, or the one that the trainer's recipe fixes.
        overwrite_plans_name: another name for the file, without .json.
        processes: for extracting the fingerprint.
        say: receives the report, a line or a table at a time.

    Raises:
        SetupError: a folder, a variable, the dataset or the trainer is missing.
        PlanError: nothing fits the target, or the trainer's fixed patch cannot be pooled, or the file is another's.
    """
    trainer_class = find_trainer(trainer)
    wanted = _wanted(configurations)
    folder = _prepare(dataset_id, processes=processes)
    file = folder / f"{overwrite_plans_name or plans_name_of(trainer_class)}.json"
    old = _read_own(file)
    with _progress() as bar:
        planner = _planner(
            folder.name,
            trainer_class,
            target_gb=gpu_memory_target_gb,
            depth=depth,
            configurations=wanted,
            name=file.stem,
            on_count=bar.update,
        )
        plans = planner.make_plans()
        stock = read_plans(folder, STOCK_PLANS_NAME)
        sharing = share_preprocessed_data(plans, stock)
        rows = compare(plans, planner.counter)
        beside = _beside_stock(stock or stock_plans(dataset_id), rows, planner, on_count=bar.update)
    plans[SPINE_KEY] = _facts(planner, rows)
    write_plans(merged(plans, old, replaced=planner.wanted or NNUNET_CONFIGURATIONS), file)
    steps = _next_steps(dataset_id, folder, plans, trainer_class.__name__)
    for line in [table(beside), *planner.notes, *sharing, *_missing(planner.wanted, plans), *steps]:
        say(line)
    return file


def check(dataset_id: int, plans_name: str, *, trainer: str | None = None, say: Say = print) -> list[Row]:
    """Count every configuration of an existing plans file; return and report the rows.

    Args:
        dataset_id: the number in `Dataset<ID>_<Name>`.
        plans_name: the file's name without .json.
        trainer: `None` for the trainer that the file was made for (nnU-Net's own, if it does not say).
        say: receives the table.

    Raises:
        SetupError: dataset, plans or trainer are missing.
    """
    folder = dataset_folder(dataset_id, variable="nnUNet_preprocessed")
    plans = read_plans(folder, plans_name)
    if plans is None:
        found = ", ".join(sorted(p.stem for p in folder.glob("*Plans*.json"))) or "none"
        raise SetupError(f"There is no {plans_name}.json in {folder}; plans there: {found}.")
    dataset = read_dataset(folder)
    trainer_class = find_trainer(trainer or plans.get(SPINE_KEY, {}).get("trainer", "nnUNetTrainer"))
    with _progress() as bar:
        rows = compare(plans, ConfigurationCounter(trainer_class, dataset=dataset, plans=plans, on_count=bar.update))
    say(table(rows))
    for row in rows:
        if row.problem:
            say(f"{row.configuration}: {row.problem}")
    return rows


def _progress() -> Any:  # noqa: ANN401  (tqdm has no types)
    """Return a bar without an end: how many steps a search will count is not known."""
    return tqdm(desc="Counting training steps", unit=" steps", bar_format="{desc}: {n}{unit} [{elapsed}]")


def _read_own(file: Path) -> dict[str, Any] | None:
    """Return the file that will be replaced, if there is one and it is ours."""
    content = read_json_if_there(file)
    if file.stem == STOCK_PLANS_NAME or (content is not None and SPINE_KEY not in content):
        raise PlanError(f"{file} is not a file of nnunet_spine. Choose another name with -overwrite_plans_name.")
    return content


def _facts(planner: SpinePlanner, rows: Sequence[Row]) -> dict[str, Any]:
    """Return what the file says it was made for."""
    planned = [row.configuration for row in rows]
    return {
        "gpu_memory_target_gb": planner.UNet_vram_target_GB,
        "trainer": planner.trainer.__name__,
        "depth": planner.depth,
        "depth_chosen": {c: d for c, d in planner.depth_chosen.items() if c in planned},
        "counted_gb": {row.configuration: round(row.memory.total_gb, 3) for row in rows if row.memory is not None},
        "package_version": nnunet_spine_ext.__version__,
    }


def _wanted(configurations: Sequence[str] | None) -> tuple[str, ...] | None:
    if configurations is None:
        return None
    unknown = [c for c in configurations if c not in CONFIGURATIONS]
    if unknown:
        raise PlanError(f"Unknown configuration {', '.join(unknown)}; there are {', '.join(CONFIGURATIONS)}.")
    wanted = set(configurations)
    if wanted & {"3d_lowres", "3d_cascade_fullres"}:
        wanted |= CASCADE
    return tuple(c for c in CONFIGURATIONS if c in wanted)


def _prepare(dataset_id: int, *, processes: int) -> Path:
    """Return the dataset's preprocessed folder, with a fingerprint in it."""
    raw = dataset_folder(dataset_id)
    if not (raw / "dataset.json").is_file():
        raise SetupError(f"{raw} has no dataset.json. Convert the dataset again: nnunet_spine convert --list")
    folder = nnunet_folder("nnUNet_preprocessed") / raw.name
    if not (folder / "dataset_fingerprint.json").is_file():
        extract_fingerprint_dataset(dataset_id, num_processes=processes, verbose=False)
    return folder


def _planner(
    dataset: str,
    trainer: type[nnUNetTrainer],
    *,
    target_gb: float,
    depth: DepthMode,
    configurations: Sequence[str] | None,
    name: str,
    on_count: Callable[[], object],
) -> SpinePlanner:
    if target_gb <= 0:
        raise PlanError(f"The memory target must be above 0 GB, got {target_gb:g}.")
    try:
        return SpinePlanner(
            dataset,
            target_gb,
            trainer=trainer,
            depth=depth,
            configurations=configurations,
            plans_name=name,
            on_count=on_count,
        )
    except AssertionError as error:
        # nnU-Net compares the folds in raw and preprocessed when it plans.
        raise PlanError(
            f"{dataset}: splits_final.json in nnUNet_raw and in nnUNet_preprocessed disagree. Remove the one in "
            "nnUNet_preprocessed, unless models were trained with it."
        ) from error


def _beside_stock(
    stock: Mapping[str, Any], rows: Sequence[Row], planner: SpinePlanner, *, on_count: Callable[[], object]
) -> list[Row]:
    """Return, for each configuration: the stock plan with the stock network and with ours, then the new plan."""
    only = [row.configuration for row in rows]
    found = compare(stock, planner.counter, only=only)
    if planner.trainer is not nnUNetTrainer:
        counter = ConfigurationCounter(nnUNetTrainer, dataset=planner.dataset_json, plans=stock, on_count=on_count)
        found = [*compare(stock, counter, only=only), *found]
    return sorted([*found, *rows], key=lambda row: only.index(row.configuration))


def _missing(wanted: Sequence[str] | None, plans: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: not planned; the patch of 3d_fullres already covers a quarter of the image or more"
        for name in wanted or ()
        if name not in plans["configurations"]
    ]


def _next_steps(dataset_id: int, folder: Path, plans: Mapping[str, Any], trainer: str) -> list[str]:
    """Return the commands that follow: preprocessing where it is needed, then training."""
    name, manager = plans["plans_name"], PlansManager(dict(plans))
    todo = [
        c
        for c, configuration in plans["configurations"].items()
        if "inherits_from" not in configuration  # it has the data of another
        and not is_preprocessed(folder, manager.get_configuration(c).data_identifier)
    ]
    lines = [f"Plans: {folder / name}.json"]
    if todo:
        lines.append(f"Preprocess: nnUNetv2_preprocess -d {dataset_id} -plans_name {name} -c {' '.join(todo)}")
    else:
        lines.append("Preprocessed data: shared with the stock plan, nothing to do")
    configuration = next(c for c in (*TRAINED_FIRST, *plans["configurations"]) if c in plans["configurations"])
    lines.append(f"Train: nnUNetv2_train {dataset_id} {configuration} 0 -tr {trainer} -p {name}")
    return lines
