"""The plan of a comparison: which models on which folds, with which seeds and on what budget.

It is what `benchmark.yaml` holds (`yaml_plan.py` reads it, `yaml_template.py` writes it); nothing here touches a disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.variant_names import full_length

STOCK_PLANS = "nnUNetPlans"
STOCK_TRAINER = "nnUNetTrainer"
STOCK_TRAINER_OF_ANY_LENGTH = "SpineBaselineTrainer"
"""nnU-Net's own network under our base class, which nnU-Net's trainer lacks: lengths, seeds, kept epochs."""

DEVICES = ("cuda", "cpu")
FOLDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line under `trainers`: a model for each of its configurations."""

    trainer: str
    """The full-length name; the budget of the plan is appended to it."""
    configurations: tuple[str, ...]
    plans: str = STOCK_PLANS
    title: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides what a comparison computes, and how its jobs are run."""

    dataset_id: int
    entries: tuple[Entry, ...]
    folds: tuple[int, ...] = FOLDS
    seeds: tuple[int, ...] = (0,)
    epochs: int | None = None
    """The same training length for every model; None: each trainer's own."""
    iterations: int | None = None
    """Iterations of an epoch; None: nnU-Net's 250."""
    gpu_memory_target_gb: float | None = None
    """The GPU that every model must fit, for the choice of the baseline; None: no limit."""
    device: str = "cuda"
    jobs_at_once: int | None = None
    """None: one per GPU; one on a CPU."""
    loading_processes: int | None = None
    """nnU-Net's `nnUNet_n_proc_DA`; None: nnU-Net's choice. 0 on a CPU repeats a training exactly."""
    keep_epochs: tuple[int, ...] = ()
    """After these many epochs a checkpoint is kept, for the curve of results against budget."""
    with_baseline: bool = True
    find_best: bool = False
    """Let nnU-Net choose the best model or ensemble afterwards; keeps probabilities on disk for it."""
    slurm: Mapping[str, object] = field(default_factory=dict)

    @property
    def budget(self) -> str:
        """The suffix that names the budget: `_100epochs`, `_1epochs_2iterations`, or nothing."""
        if self.epochs is None:
            return ""
        return f"_{self.epochs}epochs" + ("" if self.iterations is None else f"_{self.iterations}iterations")

    @property
    def baseline_trainer(self) -> str:
        """The trainer of the stock baseline: nnU-Net's own, or on a shorter budget its network under our base class."""
        return STOCK_TRAINER_OF_ANY_LENGTH + self.budget if self.budget else STOCK_TRAINER

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that the plan names, in its order, with titles of their own; baselines are chosen later."""
        models = [
            Model(
                trainer=entry.trainer + self.budget,
                plans=entry.plans,
                configuration=configuration,
                title=entry.title or short_name(entry.trainer),
                baseline=is_stock(entry.trainer),
            )
            for entry in self.entries
            for configuration in entry.configurations
        ]
        return distinct_titles(models)


def is_stock(trainer: str) -> bool:
    """Return whether a trainer trains nnU-Net's own network by nnU-Net's own recipe."""
    return full_length(trainer) in (STOCK_TRAINER, STOCK_TRAINER_OF_ANY_LENGTH)


def short_name(trainer: str) -> str:
    """Return the name in tables: SpineHybridTrainer → SpineHybrid."""
    return "stock nnU-Net" if is_stock(trainer) else full_length(trainer).removesuffix("Trainer")


def distinct_titles(models: Sequence[Model]) -> tuple[Model, ...]:
    """Return the models with what tells them apart added to titles that would occur twice."""
    told = list(models)
    for attribute in ("configuration", "plans", "trainer"):
        counts = Counter(model.title for model in told)
        groups = {t: {getattr(m, attribute) for m in told if m.title == t} for t, n in counts.items() if n > 1}
        told = [
            replace(m, title=f"{m.title} {getattr(m, attribute)}") if len(groups.get(m.title, ())) > 1 else m
            for m in told
        ]
    return tuple(told)
