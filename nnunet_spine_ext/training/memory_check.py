"""At start: the memory of a training step beside what the plan was made for and what the GPU has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from nnunet_spine_ext.training.trainer import SpineTrainer

TOLERANCE = 1.05
"""A plan is not said to be exceeded for a twentieth more: planners round, and so does this count."""

STOCK_TARGETS_GB: Mapping[str, float] = {
    "nnUNetPlans": 8,
    "nnUNetResEncUNetPlans": 8,
    "nnUNetResEncUNetMPlans": 8,
    "nnUNetResEncUNetLPlans": 24,
    "nnUNetResEncUNetXLPlans": 40,
}
"""nnU-Net does not write the memory target into a plan; these are the defaults behind its plan names."""


def planned_memory_gb(plans: Mapping[str, Any]) -> float | None:
    """Return the GPU memory a plan was made for, in GB; `None` when nobody wrote it down."""
    ours = plans.get("spine", {}).get("gpu_memory_target_gb")
    return float(ours) if ours is not None else STOCK_TARGETS_GB.get(plans["plans_name"])


@dataclass(frozen=True, kw_only=True)
class MemoryCheck:
    """The counted memory of one training step beside what the plan and the device offer."""

    needed_gb: float
    planned_gb: float | None
    device_gb: float | None
    """Memory of the CUDA device; `None` on a CPU, which has no such limit."""
    plans_name: str
    trainer: str
    dataset_id: int

    @property
    def exceeds_plan(self) -> bool:
        """Whether the network needs clearly more than the plan's target (never on a CPU)."""
        return self.device_gb is not None and self.needed_gb > TOLERANCE * (self.planned_gb or float("inf"))

    @property
    def exceeds_device(self) -> bool:
        """Whether the network needs more than the CUDA device has."""
        return self.device_gb is not None and self.needed_gb > self.device_gb

    def __str__(self) -> str:
        planned = f"{self.plans_name} was made for {self.planned_gb:g} GB" if self.planned_gb else self.plans_name
        device = f"this GPU has {self.device_gb:.1f} GB" if self.device_gb is not None else "on the CPU"
        figure = f"Memory of a training step, counted: {self.needed_gb:.2f} GB ({planned}; {device})."
        if not (self.exceeds_plan or self.exceeds_device):
            return figure
        verdict = "it will not fit this GPU" if self.exceeds_device else "more than the plan was made for"
        limits = [gb for gb in (self.planned_gb, self.device_gb) if gb is not None]
        # The command must be one that ends well: never ask for more than the card at hand.
        return (
            f"WARNING: {figure} That is {verdict}. Make a plan for this network:\n"
            f"    nnunet_spine plan -d {self.dataset_id} -tr {self.trainer} -gpu_memory_target {min(limits):.3g}\n"
            "and train with the -p that it prints."
        )


def check_memory(trainer: SpineTrainer) -> str:
    """Return what to log about the memory of an initialised trainer. Never raises: a count must not stop a training."""
    try:
        return str(_check(trainer))
    except Exception as error:
        return f"Memory of a training step: could not be counted ({type(error).__name__}: {error})."


def _check(trainer: SpineTrainer) -> MemoryCheck:
    # Not needed in prediction, which imports this module as well.
    from nnunet_spine_ext.planning.counting import ConfigurationCounter

    on_gpu = trainer.device.type == "cuda"
    plans = trainer.plans_manager.plans
    counter = ConfigurationCounter(
        type(trainer), dataset=trainer.dataset_json, plans=plans, precision="fp16" if on_gpu else "fp32"
    )
    counted = counter.count(trainer.configuration_manager.configuration, batch_size=trainer.batch_size)
    return MemoryCheck(
        needed_gb=counted.total_gb,
        planned_gb=planned_memory_gb(plans),
        device_gb=torch.cuda.get_device_properties(trainer.device).total_memory / 2**30 if on_gpu else None,
        plans_name=trainer.plans_manager.plans_name,
        trainer=trainer.full_length_name,
        dataset_id=trainer.dataset_id,
    )
