"""From a plan to its comparison: check everything, then choose the stock baselines; once, and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nnunet_spine_ext.benchmark.comparison import Baseline, Comparison, resolved, write_facts
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.benchmark.plan import Plan
from nnunet_spine_ext.benchmark.setup_check import model_findings, setup_findings
from nnunet_spine_ext.benchmark.yaml_plan import PLAN_FILE, draft_plan
from nnunet_spine_ext.errors import DataError
from nnunet_spine_ext.paths import dataset_folder, nnunet_folder


def resolve(folder: Path, *, without_baseline: bool = False, slurm: bool = False) -> Comparison:
    """Return the comparison in a folder, with its baselines; what was chosen before for the same plan stays.

    Args:
        folder: with a `benchmark.yaml`.
        without_baseline: leave stock nnU-Net out, whatever the plan says.
        slurm: the jobs run elsewhere, so no GPU is needed here.

    Raises:
        DataError: all that is wrong with the plan or missing for it, at once.
        SetupError: no preset of nnU-Net can be planned.
        PlanError: a configuration inherits from one that is not there, or from itself.
    """
    folder = folder.resolve()
    file = folder / PLAN_FILE
    plan, findings = draft_plan(file)
    if plan is None:
        raise DataError(findings)
    findings += setup_findings(plan, file, slurm=slurm)
    if findings:
        raise DataError(findings)
    if without_baseline:
        plan = replace(plan, with_baseline=False)
    known = resolved(folder, plan)
    here = nnunet_folder("nnUNet_results").resolve()
    if known is None or known.plan.with_baseline != plan.with_baseline:
        comparison = _begin(folder, plan, here)
    else:
        comparison = replace(known, results=here)
    _check(comparison)
    write_facts(comparison)
    return comparison


def _begin(folder: Path, plan: Plan, results: Path) -> Comparison:
    """Choose the baselines: the presets of nnU-Net that are closest in memory and compute, all counted."""
    from nnunet_spine_ext.benchmark.baseline import choose_baselines

    models, baselines = plan.models, tuple[Baseline, ...]()
    if plan.with_baseline:
        _plan_presets(plan)
        choices = choose_baselines(
            plan.dataset_id,
            models,
            gpu_memory_target_gb=plan.gpu_memory_target_gb,
            trainer=plan.baseline_trainer,
        )
        models = _joined(models, tuple(choice.model for choice in choices))
        titles = {model.folder_name: model.title for model in models}
        baselines = tuple(
            Baseline(title=titles[c.model.folder_name], because=c.because, for_models=c.for_models) for c in choices
        )
    name = dataset_folder(plan.dataset_id, variable="nnUNet_preprocessed").name
    return Comparison(folder=folder, plan=plan, dataset=name, results=results, models=models, baselines=baselines)


def _plan_presets(plan: Plan) -> None:
    """Plan the presets of nnU-Net that could be chosen; their preprocessed data are those of its default plans."""
    from nnunet_spine_ext.benchmark.baseline_presets import PRESETS, plan_presets

    smallest = min(preset.target_gb for preset in PRESETS)
    limit_gb = max(plan.gpu_memory_target_gb or float("inf"), smallest)
    plan_presets(plan.dataset_id, presets=[preset for preset in PRESETS if preset.target_gb <= limit_gb])


def _joined(models: tuple[Model, ...], baselines: tuple[Model, ...]) -> tuple[Model, ...]:
    """Return the models, the baselines among them marked, and the baselines that are not among them."""
    chosen = {model.folder_name for model in baselines}
    marked = tuple(replace(m, baseline=m.baseline or m.folder_name in chosen) for m in models)
    there = {model.folder_name for model in models}
    return (*marked, *(model for model in baselines if model.folder_name not in there))


def _check(comparison: Comparison) -> None:
    """Raise what is missing for the models, the baselines included."""
    folder = dataset_folder(comparison.plan.dataset_id, variable="nnUNet_preprocessed")
    findings = model_findings(comparison.models, comparison.plan.dataset_id, folder)
    if findings:
        raise DataError(findings)
    comparison.results.mkdir(parents=True, exist_ok=True)
