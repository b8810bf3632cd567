"""The training memory of a row of the registry, for the table of networks: by its first trainer, on any plan."""

from __future__ import annotations

from typing import Any

from nnunet_spine_ext.errors import PlanError, SetupError
from nnunet_spine_ext.networks.entries import NetworkEntry
from nnunet_spine_ext.networks.plans_file import PlannedInput
from nnunet_spine_ext.networks.table import COUNTED_BATCH
from nnunet_spine_ext.planning.counting import ConfigurationCounter
from nnunet_spine_ext.planning.trainers import find_trainer

PLACEHOLDER_NETWORK = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
"""What the plan names; a trainer of ours builds its own."""


def training_memory_gb(row: NetworkEntry, planned: PlannedInput) -> float | None:
    """Return the GB of one training step; None where the row's first trainer is not found or refuses the plan."""
    try:
        counter = ConfigurationCounter(find_trainer(row.trainers[0]), dataset=_dataset(planned))
        return counter.count(_configuration(planned), batch_size=COUNTED_BATCH).total_gb
    except (PlanError, SetupError):
        return None


def _dataset(planned: PlannedInput) -> dict[str, Any]:
    """Return a dataset.json with the plan's channels and logits."""
    structures = {f"structure{i}": i for i in range(1, planned.num_classes)}
    return {
        "channel_names": {str(i): "MRI" for i in range(planned.input_channels)},
        "labels": {"background": 0, **structures},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }


def _configuration(planned: PlannedInput) -> dict[str, Any]:
    """Return the configuration as a plans file holds it, with dotted paths in place of classes."""
    classes = {name: value for name, value in planned.architecture.items() if isinstance(value, type)}
    paths = {name: f"{value.__module__}.{value.__qualname__}" for name, value in classes.items()}
    return {
        "architecture": {
            "network_class_name": PLACEHOLDER_NETWORK,
            "arch_kwargs": {**planned.architecture, **paths},
            "_kw_requires_import": list(paths),
        },
        "patch_size": list(planned.patch_size),
        "batch_size": COUNTED_BATCH,
    }
