"""Is everything there that the jobs of a plan need? Every finding names what makes it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnunet_spine_ext.benchmark.jobs.local_queue import local_slots
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.benchmark.plan import STOCK_PLANS, Plan, is_stock
from nnunet_spine_ext.data.splits import FOLDS
from nnunet_spine_ext.data.splits_file import SPLITS_FILE, read_validation_cases
from nnunet_spine_ext.errors import DataError, Finding, SetupError
from nnunet_spine_ext.networks.plans_file import ancestry
from nnunet_spine_ext.paths import dataset_folder
from nnunet_spine_ext.planning.plans_file import read_plans
from nnunet_spine_ext.planning.sharing import is_preprocessed
from nnunet_spine_ext.variant_names import full_length

VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def setup_findings(plan: Plan, file: Path, *, slurm: bool = False) -> list[Finding]:
    """Return what is missing on this machine for the models that a plan names.

    Args:
        plan: of the comparison.
        file: where the plan stands, to name it.
        slurm: the jobs run elsewhere, so no GPU is needed here.

    Raises:
        PlanError: as `model_findings`.
    """
    unset = [variable for variable in VARIABLES if not os.environ.get(variable)]
    findings = [
        Finding(file=file, finding=f"{variable} is not set", remedy=f"export {variable}=/path") for variable in unset
    ]
    if not slurm and not local_slots(plan.device, plan.jobs_at_once):
        remedy = "Write device: cpu, set CUDA_VISIBLE_DEVICES, or send the jobs to a cluster (--slurm)."
        findings.append(Finding(file=file, finding=f"device is {plan.device}, but no GPU is visible", remedy=remedy))
    if unset or not plan.dataset_id:
        return findings
    folders = []
    for variable in VARIABLES[:2]:
        try:
            folders.append(dataset_folder(plan.dataset_id, variable=variable))
        except SetupError as error:
            remedy = f"Convert the dataset, then nnUNetv2_plan_and_preprocess -d {plan.dataset_id}."
            findings.append(Finding(file=file, finding=str(error).rstrip("."), remedy=remedy))
    if len(folders) == len(VARIABLES) - 1:
        findings += [*_fold_findings(plan, folders[-1]), *model_findings(plan.models, plan.dataset_id, folders[-1])]
    return findings


def model_findings(models: Sequence[Model], dataset_id: int, preprocessed: Path) -> list[Finding]:
    """Return what is missing for some models in the dataset's preprocessed folder: plans, configurations, data.

    Raises:
        PlanError: a configuration inherits from one that is not there, or from itself.
    """
    found: dict[tuple[str, str], Finding] = {}
    for model in models:
        for finding in _missing_for(model, dataset_id, preprocessed):
            found[str(finding.file), finding.finding] = finding
    return list(found.values())


def _missing_for(model: Model, dataset_id: int, folder: Path) -> Iterator[Finding]:
    file = folder / f"{model.plans}.json"
    try:
        plans = read_plans(folder, model.plans)
    except DataError as error:
        yield from error.findings
        return
    if plans is None:
        found = ", ".join(sorted(p.stem for p in folder.glob("*Plans*.json"))) or "none"
        remedy = f"Make it: {_planning_command(model, dataset_id)}. There are: {found}."
        yield Finding(file=file, finding=f"no such plans, which {model.title} needs", remedy=remedy)
        return
    configurations = plans.get("configurations", {})
    if model.configuration not in configurations:
        remedy = f"There are {', '.join(configurations)}; or make it: {_planning_command(model, dataset_id)}."
        yield Finding(file=file, finding=f"has no configuration {model.configuration}", remedy=remedy)
        return
    family = ancestry(configurations, model.configuration, plans=str(file))
    owner = next((name for name in family if "data_identifier" in configurations[name]), family[-1])
    identifier = configurations[owner].get("data_identifier")
    if not isinstance(identifier, str) or not is_preprocessed(folder, identifier):
        remedy = f"Make them: nnUNetv2_preprocess -d {dataset_id} -plans_name {model.plans} -c {owner}."
        yield Finding(file=folder / str(identifier), finding="the preprocessed cases are missing", remedy=remedy)


def _fold_findings(plan: Plan, folder: Path) -> Iterator[Finding]:
    """Refuse folds that the dataset does not have: nnU-Net would train them on a random split of its own."""
    file = folder / SPLITS_FILE
    try:
        there = len(read_validation_cases(file)) if file.is_file() else FOLDS
    except DataError as error:
        yield from error.findings
        return
    absent = [fold for fold in plan.folds if fold >= there]
    if absent:
        remedy = f"Name folds from 0 to {there - 1}; nnU-Net would make up a random split for others."
        yield Finding(file=file, finding=f"has {there} folds, not {', '.join(map(str, absent))}", remedy=remedy)


def _planning_command(model: Model, dataset_id: int) -> str:
    if model.plans == STOCK_PLANS:
        return f"nnUNetv2_plan_and_preprocess -d {dataset_id} -c {model.configuration}"
    if is_stock(model.trainer):
        from nnunet_spine_ext.benchmark.baseline_presets import PRESETS

        planner = next((p.planner for p in PRESETS if p.plans == model.plans), "PLANNER")
        return f"nnUNetv2_plan_experiment -d {dataset_id} -pl {planner}"
    trainer = full_length(model.trainer)
    return f"nnunet_spine plan -d {dataset_id} -tr {trainer} -c {model.configuration}"
