"""What a model of a comparison is trained on: dataset.json, plans and configuration, read and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.paths import dataset_folder
from nnunet_spine_ext.planning.plans_file import read_dataset, read_plans

CASES_FOLDER_VARIABLE = "nnUNet_preprocessed"


@dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """A trainer with one configuration of a plans file of a dataset."""

    trainer: str
    configuration: str
    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]
    """The content of dataset.json."""
    folder: Path
    """`nnUNet_preprocessed/Dataset<ID>_<Name>`."""

    def resolved(self) -> dict[str, Any]:
        """Return the configuration as nnU-Net reads it, inheritance resolved."""
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        manager = PlansManager(deepcopy(dict(self.plans)))
        configuration: dict[str, Any] = manager.get_configuration(self.configuration).configuration
        return configuration

    @property
    def digest(self) -> str:
        """What tells this from every other model: a checksum of trainer, configuration and labels."""
        configurations = self.plans["configurations"]
        content = [self.trainer, self.configuration, configurations, self.dataset.get("labels")]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read_planned(dataset_id: int, models: Sequence[Model]) -> list[PlannedModel]:
    """Read the plans of all models.

    Raises:
        SetupError: plans, configurations or dataset.json are missing; all that is missing is named.
    """
    folder = dataset_folder(dataset_id, variable=CASES_FOLDER_VARIABLE)
    dataset, plans = read_dataset(folder), {m.plans: read_plans(folder, m.plans) for m in models}
    problems = [problem for m in models if (problem := _problem(m, plans[m.plans], dataset_id, folder))]
    if problems:
        raise SetupError("\n".join(dict.fromkeys(problems)))
    return [
        PlannedModel(
            trainer=m.trainer, configuration=m.configuration, plans=plans[m.plans] or {}, dataset=dataset, folder=folder
        )
        for m in models
    ]


def _problem(model: Model, plans: Mapping[str, Any] | None, dataset_id: int, folder: Path) -> str:
    if plans is None:
        found = ", ".join(sorted(p.stem for p in folder.glob("*Plans*.json"))) or "none"
        return (
            f"There is no {model.plans}.json in {folder}; plans there: {found}. Make one: "
            f"nnunet_spine plan -d {dataset_id} -tr {model.trainer}"
        )
    if model.configuration not in plans["configurations"]:
        found = ", ".join(plans["configurations"])
        return f"{model.plans} has no configuration {model.configuration}; it has {found}."
    return ""


@contextmanager
def built_trainer(planned: PlannedModel, *, fold: int = 0, device: str = "cpu") -> Iterator[Any]:
    """Yield the trainer as nnUNetv2_train constructs it, except that all it writes goes to a folder that is removed.

    Raises:
        SetupError: nnU-Net does not find the trainer.
    """
    import torch

    from nnunet_spine_ext.planning.trainers import find_trainer

    trainer_class = find_trainer(planned.trainer)
    plans = {**deepcopy(dict(planned.plans)), "continue_training": False}
    dataset = deepcopy(dict(planned.dataset))
    # A measurement is no training: nothing of it belongs in the results, or in anybody's Weights & Biases.
    with (
        TemporaryDirectory(prefix="nnunet_spine_costs_") as folder,
        mock.patch.dict("os.environ", {"nnUNet_results": folder, "nnUNet_wandb_enabled": "0"}),
    ):
        yield trainer_class(plans, planned.configuration, fold, dataset, torch.device(device))
