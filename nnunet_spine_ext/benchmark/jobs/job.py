"""A job: one model trained and validated on one fold with one seed, by nnU-Net, into nnU-Net's own folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.benchmark.plan import Plan

SEED_VARIABLE = "NNUNET_SPINE_SEED"
KEEP_VARIABLE = "NNUNET_SPINE_KEEP_EPOCHS"
WORKERS_VARIABLE = "nnUNet_n_proc_DA"
RESULTS_VARIABLE = "nnUNet_results"

WAITING_VARIABLE = "OMP_WAIT_POLICY"
"""On a CPU, nnU-Net gives every training as many threads as there are cores. Threads that wait for each other actively
keep the others' cores busy: with other jobs beside it, an epoch took nine times as long."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What nnU-Net is asked for, and where it writes."""

    model: Model
    fold: int
    seed: int
    dataset_id: int
    dataset: str
    """`Dataset<ID>_<Name>`."""
    results: Path
    """`nnUNet_results` of this seed."""

    @property
    def name(self) -> str:
        """A name that can be a file's, and tells the job from all others of a comparison."""
        return f"{self.model.folder_name}__fold_{self.fold}" + (f"__seed_{self.seed}" if self.seed else "")

    @property
    def folder(self) -> Path:
        """The fold's folder, as nnU-Net names it."""
        return self.results / self.dataset / self.model.folder_name / f"fold_{self.fold}"

    @property
    def validation(self) -> Path:
        """Where the predictions of the fold's own cases lie."""
        return self.folder / "validation"

    @property
    def summary(self) -> Path:
        """What nnU-Net writes last of all."""
        return self.validation / "summary.json"

    def __str__(self) -> str:
        return f"{self.model.title}, fold {self.fold}" + (f", seed {self.seed}" if self.seed else "")


def all_jobs(models: Sequence[Model], plan: Plan, *, dataset: str, results: Path, comparison: Path) -> tuple[Job, ...]:
    """Return every job, fold by fold, so that the models can be compared as soon as one fold is through.

    Args:
        models: all of them, baselines included.
        plan: says which folds and seeds.
        dataset: `Dataset<ID>_<Name>`.
        results: `nnUNet_results`, where seed 0 lives: folds trained by hand count.
        comparison: the comparison's folder, where further seeds live.
    """
    return tuple(
        Job(
            model=model,
            fold=fold,
            seed=seed,
            dataset_id=plan.dataset_id,
            dataset=dataset,
            results=results if seed == 0 else comparison / "seeds" / str(seed) / RESULTS_VARIABLE,
        )
        for seed in plan.seeds
        for fold in plan.folds
        for model in models
    )


def environment_of(job: Job, plan: Plan) -> dict[str, str]:
    """Return the variables that nnU-Net and our trainers read, for one job."""
    variables = {RESULTS_VARIABLE: str(job.results), SEED_VARIABLE: str(job.seed)}
    if plan.loading_processes is not None:
        variables[WORKERS_VARIABLE] = str(plan.loading_processes)
    variables[KEEP_VARIABLE] = ",".join(str(n) for n in plan.keep_epochs)
    if plan.device == "cpu":
        variables[WAITING_VARIABLE] = os.environ.get(WAITING_VARIABLE, "passive")
    return variables
