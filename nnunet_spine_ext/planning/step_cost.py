"""Memory and floating-point operations of one training step, counted on tensors without data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_spine_ext.planning.counting import ConfigurationCounter
from nnunet_spine_ext.planning.flops import flops_of
from nnunet_spine_ext.planning.memory import TrainingMemory
from nnunet_spine_ext.planning.simulation import Precision


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """What one training step of a plan's configuration costs."""

    memory: TrainingMemory
    flops: int
    """Of forward pass, loss and backward pass for the whole batch (`flops_of`): convolutions, matrix products and
    attention; a multiplication and its addition are two. What is recomputed counts again."""


def count_step(
    trainer: type[nnUNetTrainer],
    *,
    dataset: Mapping[str, Any],
    plans: Mapping[str, Any],
    configuration: Mapping[str, Any],
    precision: Precision = "fp16",
) -> StepCost:
    """Count one training step of a trainer.

    Args:
        trainer: its network and its loss are counted.
        dataset: the content of dataset.json.
        plans: the content of the plans file.
        configuration: of that file, inheritance resolved.
        precision: "fp16" as nnU-Net trains on a GPU, "fp32" as on a CPU.

    Raises:
        UnsuitableError: the trainer cannot train this configuration.
        PlanError: network or loss read tensor values, so that they cannot be counted without data.
    """

    def count() -> TrainingMemory:
        return ConfigurationCounter(trainer, dataset=dataset, plans=plans, precision=precision).count(configuration)

    # Two runs: the counter of operations holds on to tensors here and there, which would count as memory.
    memory = count()
    return StepCost(memory=memory, flops=flops_of(count))
