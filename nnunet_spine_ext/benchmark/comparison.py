"""A comparison: a folder with its plan, the models (baselines included), and where nnU-Net keeps them.

<folder>/
benchmark.yaml      the plan, the user's
comparison.json     what came of it: models, baselines and why, folders, notes for the report
jobs/  logs/        what was heard of each job, and all that it printed
seeds/<s>/nnUNet_results    trainings with further seeds; seed 0 lives in nnUNet_results itself
metrics/            one table per job; joined: metrics.csv, confusion.csv
jobs.csv  costs.csv  robustness.csv  budget.csv  report.html
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nnunet_spine_ext.benchmark.jobs.job import RESULTS_VARIABLE, Job, all_jobs
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.benchmark.plan import Plan
from nnunet_spine_ext.benchmark.yaml_plan import PLAN_FILE, read_plan
from nnunet_spine_ext.data.files import read_json_if_there, write_json
from nnunet_spine_ext.errors import SetupError

FACTS_FILE = "comparison.json"
NNUNETS_EPOCHS, NNUNETS_ITERATIONS = 1000, 250
"""Of nnU-Net's own training."""
NO_BASELINE_NOTE = (
    "Stock nnU-Net was left out (--without-baseline): this comparison does not say whether any model beats it."
)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A stock model, and which models it was chosen for."""

    title: str
    because: str
    for_models: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that follows from the plan."""

    folder: Path
    plan: Plan
    dataset: str
    """`Dataset<ID>_<Name>`."""
    results: Path
    """`nnUNet_results`."""
    models: tuple[Model, ...]
    baselines: tuple[Baseline, ...] = ()

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Every job, in the order in which they are begun."""
        return all_jobs(self.models, self.plan, dataset=self.dataset, results=self.results, comparison=self.folder)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of the report must know."""
        if not any(model.baseline for model in self.models):
            return (*self._budget_note, NO_BASELINE_NOTE)
        chosen = (f"Baseline {b.title}, chosen for {', '.join(b.for_models)}. {b.because}" for b in self.baselines)
        return (*self._budget_note, *chosen)

    @property
    def _budget_note(self) -> tuple[str, ...]:
        """How far the budget is from nnU-Net's own, where the plan sets one that is smaller."""
        if self.plan.epochs is None:
            return ()
        steps = self.plan.epochs * (self.plan.iterations or NNUNETS_ITERATIONS)
        whole = NNUNETS_EPOCHS * NNUNETS_ITERATIONS
        if steps >= whole:
            return ()
        return (
            f"Every model was trained for {steps:,} steps; nnU-Net's own training has {whole:,}. The order of models "
            "after a short training need not be that after a long one.",
        )

    @property
    def baseline(self) -> str | None:
        """The model that the others are compared with: the stock model that was chosen for most of them."""
        stock = [model.title for model in self.models if model.baseline]
        chosen = sorted(self.baselines, key=lambda b: -len(b.for_models))
        return chosen[0].title if chosen else next(iter(stock), None)


def write_facts(comparison: Comparison, **more: object) -> None:
    """Write `comparison.json`; what else it holds (`best`) is kept unless given in `more`.

    Raises:
        DataError: it cannot be written.
    """
    file = comparison.folder / FACTS_FILE
    kept = {key: value for key, value in _facts(comparison.folder).items() if key == "best"}
    best = {**kept, **more}.get("best")
    notes = [*comparison.notes, *(best["notes"] if isinstance(best, dict) else [])]
    facts = {
        "notes": notes,
        "baseline": comparison.baseline,
        "baselines": [asdict(baseline) for baseline in comparison.baselines],
        "models": [asdict(model) for model in comparison.models],
        "dataset": comparison.dataset,
        "results": os.path.relpath(comparison.results, comparison.folder),
        "resolved_from": fingerprint(comparison.plan),
        "with_baseline": comparison.plan.with_baseline,
        **({"best": best} if best else {}),
    }
    write_json(facts, file)


def read_comparison(folder: Path) -> Comparison:
    """Return a comparison that `benchmark run` has begun, from its folder alone: no variable of nnU-Net's is needed.

    Raises:
        SetupError: it was not begun, or its plan was changed since, or nnU-Net's results are not where they were.
        DataError: the plan or `comparison.json` cannot be read.
    """
    folder = folder.resolve()
    plan = read_plan(folder / PLAN_FILE, check_trainers=False)
    known = resolved(folder, plan)
    if known is None:
        raise SetupError(
            f"{folder} was not begun yet, or {PLAN_FILE} has changed since. Run it: nnunet_spine benchmark run {folder}"
        )
    if not known.results.is_dir():
        raise SetupError(
            f"{known.results} is not there. Name the folder of the trained models: export {RESULTS_VARIABLE}=/path"
        )
    return known


def resolved(folder: Path, plan: Plan) -> Comparison | None:
    """Return what an earlier `run` found out about the same plan; None if there was none."""
    facts = _facts(folder)
    if facts.get("resolved_from") != fingerprint(plan):
        return None
    plan = replace(plan, with_baseline=facts["with_baseline"])
    recorded = Path(os.path.normpath(folder / facts["results"]))
    named = os.environ.get(RESULTS_VARIABLE)
    return Comparison(
        folder=folder,
        plan=plan,
        dataset=facts["dataset"],
        results=Path(named) if named and not recorded.is_dir() else recorded,
        models=tuple(Model(**model) for model in facts["models"]),
        baselines=tuple(_baseline(b) for b in facts["baselines"]),
    )


def fingerprint(plan: Plan) -> str:
    """Return a checksum of what decides which models and baselines there can be."""
    deciding = (plan.dataset_id, plan.models, plan.gpu_memory_target_gb)
    return hashlib.sha256(repr(deciding).encode()).hexdigest()[:16]


def _baseline(facts: Mapping[str, Any]) -> Baseline:
    return Baseline(title=facts["title"], because=facts["because"], for_models=tuple(facts["for_models"]))


def _facts(folder: Path) -> dict[str, Any]:
    return read_json_if_there(folder / FACTS_FILE) or {}
