"""What a model costs by count: weights, multiply-accumulates, memory and operations of its training. No GPU needed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnunet_spine_ext.benchmark.costs.plan import PlannedModel, built_trainer

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class NetworkCount:
    """The network of a model on one patch of its plan."""

    parameters: int
    frozen_parameters: int
    """Of them, those that never learn."""
    gmac: float
    """10^9 multiply-accumulates of one forward pass at batch 1."""
    input_size: tuple[int, ...]
    """Channels, then the voxels of the patch."""


@dataclass(frozen=True, kw_only=True)
class TrainingCount:
    """The training of a model."""

    memory_gb: float
    """Of a training step, as the GPU must have it (half precision), in GB of 2^30 bytes."""
    overhead_gb: float
    """The part of it that is assumed: what is no tensor."""
    step_flops: int
    """Of one step with the whole batch, backward pass included."""
    steps: int
    """Epochs times iterations."""
    batch_size: int

    @property
    def flops(self) -> float:
        """Return the floating-point operations of the whole training."""
        return float(self.step_flops) * self.steps


def count_network(planned: PlannedModel) -> NetworkCount:
    """Count the weights that a trainer trains for its plan, and the network's work on a patch in prediction.

    Raises:
        PlanError: network and plan do not fit.
    """
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels

    from nnunet_spine_ext.networks.facts import built_without_data, forward_gmac
    from nnunet_spine_ext.planning.counting import build_as_nnunet

    with _quietly_built(planned) as trainer:
        plans, configuration = trainer.plans_manager, trainer.configuration_manager
        channels = int(determine_num_input_channels(plans, configuration, trainer.dataset_json))
        heads = trainer.label_manager.num_segmentation_heads

        def network(*, deep_supervision: bool) -> nn.Module:
            return built_without_data(
                lambda: build_as_nnunet(
                    trainer, plans, configuration, channels, heads, deep_supervision=deep_supervision
                )
            )

        # What never learns is seen in training alone: without deep supervision its heads never do.
        parameters = list(network(deep_supervision=trainer.enable_deep_supervision).parameters())
        size = (channels, *(int(n) for n in configuration.patch_size))
        gmac = forward_gmac(network(deep_supervision=False), size)
    return NetworkCount(
        parameters=sum(p.numel() for p in parameters),
        frozen_parameters=sum(p.numel() for p in parameters if not p.requires_grad),
        gmac=gmac,
        input_size=size,
    )


def count_training(planned: PlannedModel) -> TrainingCount:
    """Count memory and operations of a training.

    Raises:
        PlanError: the trainer cannot train this configuration, or cannot be counted.
    """
    from nnunet_spine_ext.planning.memory import GB
    from nnunet_spine_ext.planning.step_cost import count_step
    from nnunet_spine_ext.planning.trainers import find_trainer

    step = count_step(
        find_trainer(planned.trainer),
        dataset=planned.dataset,
        plans=planned.plans,
        configuration=planned.resolved(),
    )
    return TrainingCount(
        memory_gb=step.memory.total_gb,
        overhead_gb=step.memory.overhead / GB,
        step_flops=step.flops,
        steps=training_steps(planned),
        batch_size=step.memory.batch_size,
    )


def training_steps(planned: PlannedModel) -> int:
    """Return how many steps the whole training has: epochs times iterations, as the trainer sets them."""
    # The numbers of nnU-Net's own variants exist only in their constructors.
    with _quietly_built(planned) as trainer:
        return int(trainer.num_epochs) * int(trainer.num_iterations_per_epoch)


@contextmanager
def _quietly_built(planned: PlannedModel) -> Iterator[Any]:
    with redirect_stdout(io.StringIO()), built_trainer(planned) as trainer:
        yield trainer
