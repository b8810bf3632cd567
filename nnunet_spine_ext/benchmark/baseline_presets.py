"""nnU-Net's presets: their plans, the commands that write them, and the GPU that each is made for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine_ext.benchmark.costs.plan import CASES_FOLDER_VARIABLE
from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.paths import dataset_folder
from nnunet_spine_ext.planning.plans_file import read_plans

Say = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One of nnU-Net's presets."""

    title: str
    plans: str
    planner: str
    target_gb: float
    """The GPU memory that nnU-Net plans it for."""

    def planning_command(self, dataset_id: int) -> list[str]:
        """Return the command of nnU-Net that writes its plans."""
        return ["nnUNetv2_plan_experiment", "-d", str(dataset_id), "-pl", self.planner]


PRESETS = (
    Preset(title="nnU-Net", plans="nnUNetPlans", planner="ExperimentPlanner", target_gb=8),
    Preset(title="nnU-Net ResEnc M", plans="nnUNetResEncUNetMPlans", planner="nnUNetPlannerResEncM", target_gb=8),
    Preset(title="nnU-Net ResEnc L", plans="nnUNetResEncUNetLPlans", planner="nnUNetPlannerResEncL", target_gb=24),
    Preset(title="nnU-Net ResEnc XL", plans="nnUNetResEncUNetXLPlans", planner="nnUNetPlannerResEncXL", target_gb=40),
)


def plan_presets(dataset_id: int, *, presets: Sequence[Preset] = PRESETS, say: Say = print) -> list[Path]:
    """Write the plans of the presets that have none yet, by nnU-Net's own command; return the files written.

    The presets share the preprocessed data of `nnUNetPlans` in 2d and 3d_fullres; where data are still missing, the
    command that makes them is said.

    Args:
        dataset_id: the number in `Dataset<ID>_<Name>`; the dataset must have a fingerprint.
        presets: to plan.
        say: receives each command before it is run, then the commands that are left to do.

    Raises:
        SetupError: the dataset or its fingerprint is missing, or nnU-Net cannot plan it.
    """
    folder = dataset_folder(dataset_id, variable=CASES_FOLDER_VARIABLE)
    missing = [preset for preset in presets if read_plans(folder, preset.plans) is None]
    if missing and not (folder / "dataset_fingerprint.json").is_file():
        raise SetupError(f"{folder} has no fingerprint. Make it: nnUNetv2_extract_fingerprint -d {dataset_id}")
    for preset in missing:
        say(" ".join(preset.planning_command(dataset_id)))
        _run(preset.planning_command(dataset_id))
    for line in _preprocessing_commands(missing, folder, dataset_id):
        say(line)
    return [folder / f"{preset.plans}.json" for preset in missing]


def _run(command: Sequence[str]) -> None:
    """Run a planning command in a process of its own; its console script may lie outside PATH, its function not."""
    code = "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_experiment_entry as e; e()"
    environment = dict(os.environ)
    if environment.get("nnUNet_n_proc_DA") == "0":  # right for training; the planner asks torch for so many threads
        environment["nnUNet_n_proc_DA"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", code, *command[1:]], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr or done.stdout).strip()[-2000:]
        raise SetupError(f"{' '.join(command)} failed:\n{reason}")


def _preprocessing_commands(presets: Sequence[Preset], folder: Path, dataset_id: int) -> list[str]:
    """Return the commands that make the data which the presets still lack, each data only once."""
    from nnunet_spine_ext.planning.sharing import is_preprocessed

    seen: set[str] = set()
    commands = []
    for preset in presets:
        configurations = (read_plans(folder, preset.plans) or {})["configurations"]
        identifiers = {c: plan["data_identifier"] for c, plan in configurations.items() if "data_identifier" in plan}
        todo = [c for c, i in identifiers.items() if i not in seen and not is_preprocessed(folder, i)]
        seen.update(identifiers.values())
        if todo:
            commands.append(f"nnUNetv2_preprocess -d {dataset_id} -plans_name {preset.plans} -c {' '.join(todo)}")
    return [f"To do: {command}" for command in commands]
