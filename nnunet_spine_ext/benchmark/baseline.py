"""Which stock nnU-Net each network is compared with: the preset that needs about the same memory and compute.

nnU-Net's own rule for a fair comparison ("nnU-Net Revisited", arXiv 2404.09556): of the presets, take the one that
matches the memory and compute of the network most closely. Here both are counted, on the plans of the dataset at hand:
the memory of a training step, and its floating-point operations times the number of steps. The distance between two
models is |ln(memory ratio)| + |ln(compute ratio)|.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any

from tqdm import tqdm

from nnunet_spine_ext.benchmark.baseline_presets import PRESETS, Preset
from nnunet_spine_ext.benchmark.costs.counts import count_training
from nnunet_spine_ext.benchmark.costs.plan import CASES_FOLDER_VARIABLE, PlannedModel, read_planned
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.errors import PlanError, SetupError
from nnunet_spine_ext.paths import dataset_folder
from nnunet_spine_ext.planning.plans_file import read_dataset, read_plans

SUBSTITUTES = ("2d", "3d_fullres")
"""Configurations that a preset may stand in with where it has none of the model's name (25d, or a user's own)."""


@dataclass(frozen=True, kw_only=True)
class BaselineChoice:
    """A stock preset, and what it is the baseline of."""

    model: Model
    because: str
    """For each model: its counted memory and compute beside the preset's, and the distance."""
    for_models: tuple[str, ...]
    """Titles."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What two trainings are compared by."""

    memory_gb: float
    flops: float
    """Of the whole training."""
    steps: int | None = None
    """Of the whole training; only said, not compared."""

    def __str__(self) -> str:
        steps = f" in {self.steps} steps" if self.steps is not None else ""
        return f"{self.memory_gb:.1f} GB and {self.flops:.3g} FLOPs{steps}"


def distance(one: Figures, other: Figures) -> float:
    """Return |ln(memory ratio)| + |ln(compute ratio)|: 0 for equal trainings, 0.69 where one of the two doubles."""
    return abs(log(one.memory_gb / other.memory_gb)) + abs(log(one.flops / other.flops))


def choose_baselines(
    dataset_id: int,
    models: Sequence[Model],
    *,
    gpu_memory_target_gb: float | None = None,
    trainer: str = "nnUNetTrainer",
) -> tuple[BaselineChoice, ...]:
    """Return the stock preset that is closest to each model in training memory and compute, both counted.

    A preset is counted in the model's own configuration. If it has none of that name, its 2d and 3d_fullres are both
    candidates. Presets without plans are not considered, and named.

    Args:
        dataset_id: the number in `Dataset<ID>_<Name>`.
        models: to be compared; baselines, and the presets themselves with this trainer, need none.
        gpu_memory_target_gb: the GPU that all must fit; presets made for more are left out. None sets no limit.
        trainer: that the baseline is trained with, for example `SpineBaselineTrainer_50epochs` for a shorter budget.

    Returns:
        A choice for each preset that is closest to any model, in the order of the models.

    Raises:
        SetupError: dataset, plans or trainer are missing, or no preset is planned (see `plan_presets`).
    """
    wanted = [model for model in models if not (model.baseline or _is_preset(model, trainer=trainer))]
    if not wanted:
        return ()
    planned = read_planned(dataset_id, wanted)
    candidates = _Candidates(dataset_id, gpu_memory_target_gb=gpu_memory_target_gb, trainer=trainer)
    chosen: dict[Model, list[tuple[str, str]]] = {}
    for model, its_plan in zip(wanted, tqdm(planned, desc="Counting baselines", disable=None), strict=True):
        baseline, because = candidates.closest(model, its_plan)
        chosen.setdefault(baseline, []).append((model.title, because))
    known = {model.folder_name: model for model in models}
    return tuple(
        BaselineChoice(
            model=replace(known.get(baseline.folder_name, baseline), baseline=True),
            because=" ".join([*(because for _, because in reasons), *candidates.notes]),
            for_models=tuple(title for title, _ in reasons),
        )
        for baseline, reasons in chosen.items()
    )


def _is_preset(model: Model, *, trainer: str) -> bool:
    return model.trainer == trainer and model.plans in {preset.plans for preset in PRESETS}


class _Candidates:
    """The presets that are planned for a dataset and fit the GPU, counted where asked for.

    Attributes:
        notes: which presets are missing here, and why.
    """

    def __init__(self, dataset_id: int, *, gpu_memory_target_gb: float | None, trainer: str) -> None:
        self._trainer = trainer
        self._folder = dataset_folder(dataset_id, variable=CASES_FOLDER_VARIABLE)
        self._dataset = read_dataset(self._folder)
        plans = {preset: read_plans(self._folder, preset.plans) for preset in PRESETS}
        self._plans: dict[Preset, dict[str, Any]] = {p: found for p, found in plans.items() if found is not None}
        missing = [preset for preset in PRESETS if preset not in self._plans]
        commands = "; ".join(" ".join(preset.planning_command(dataset_id)) for preset in missing)
        if not self._plans:
            raise SetupError(f"No preset of nnU-Net is planned in {self._folder}. Plan at least one: {commands}")
        self.notes = [f"Not considered, for want of plans: {commands}."] if missing else []
        self._fit(gpu_memory_target_gb)
        self._count: dict[tuple[Preset, str], Figures | None] = {}

    def _fit(self, limit_gb: float | None) -> None:
        """Leave out what is made for a larger GPU; if that is everything, keep what is made for the smallest."""
        if limit_gb is None:
            return
        limit = max(limit_gb, min(preset.target_gb for preset in self._plans))
        too_large = [preset for preset in self._plans if preset.target_gb > limit]
        if too_large:
            names = ", ".join(preset.title for preset in too_large)
            self.notes.append(f"Left out, being made for more than {limit_gb:g} GB: {names}.")
        if limit > limit_gb:
            self.notes.append(f"No preset is made for a GPU of {limit_gb:g} GB; the smallest are for {limit:g} GB.")
        self._plans = {preset: plans for preset, plans in self._plans.items() if preset not in too_large}

    def closest(self, model: Model, planned: PlannedModel) -> tuple[Model, str]:
        """Return the preset closest to a model, as a model, and why."""
        options = self._options(model.configuration)
        if not options:
            raise SetupError(f"None of the planned presets has {model.configuration} or {' or '.join(SUBSTITUTES)}.")
        try:
            figures = _figures(planned)
        except PlanError as error:
            (preset, configuration), *_ = options
            because = f"{model.title}: {preset.title} ({configuration}), though it could not be counted ({error})."
            return self._model(preset, configuration), because
        counted = {option: found for option in options if (found := self._figures(*option)) is not None}
        if not counted:
            raise SetupError(f"None of the planned presets can be counted with {self._trainer}.")
        distances = {option: distance(figures, found) for option, found in counted.items()}
        preset, configuration = nearest = min(distances, key=distances.__getitem__)
        others = ", ".join(f"{p.title} {c} {d:.2f}" for (p, c), d in distances.items() if (p, c) != nearest)
        because = (
            f"{model.title} ({model.plans}, {model.configuration}): {figures}; {preset.title} ({configuration}): "
            f"{counted[nearest]}; distance {distances[nearest]:.2f}" + (f" (others: {others})" if others else "") + "."
        )
        return self._model(preset, configuration), because

    def _options(self, configuration: str) -> list[tuple[Preset, str]]:
        same = [(preset, configuration) for preset, plans in self._plans.items() if _has(plans, configuration)]
        return same or [(preset, c) for preset, plans in self._plans.items() for c in SUBSTITUTES if _has(plans, c)]

    def _figures(self, preset: Preset, configuration: str) -> Figures | None:
        key = preset, configuration
        if key not in self._count:
            planned = PlannedModel(
                trainer=self._trainer,
                configuration=configuration,
                plans=self._plans[preset],
                dataset=self._dataset,
                folder=self._folder,
            )
            try:
                self._count[key] = _figures(planned)
            except PlanError:
                self._count[key] = None
        return self._count[key]

    def _model(self, preset: Preset, configuration: str) -> Model:
        return Model(
            trainer=self._trainer,
            plans=preset.plans,
            configuration=configuration,
            title=f"{preset.title} ({configuration})",
            baseline=True,
        )


def _has(plans: Mapping[str, Any], configuration: str) -> bool:
    return configuration in plans["configurations"]


def _figures(planned: PlannedModel) -> Figures:
    counted = count_training(planned)
    return Figures(memory_gb=counted.memory_gb, flops=counted.flops, steps=counted.steps)
