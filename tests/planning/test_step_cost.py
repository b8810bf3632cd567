"""Operations of a training step: by hand for one convolution, and as torch counts them in a real step."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_spine_ext.planning.counting import ConfigurationCounter
from nnunet_spine_ext.planning.losses import nnunet_loss
from nnunet_spine_ext.planning.real_step import RealStep
from nnunet_spine_ext.planning.step_cost import StepCost, count_step
from nnunet_spine_ext.planning.trainers import find_trainer
from tests.training.tiny import make_dataset_json, make_plans


class SumOfOutputs(nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return output.float().sum()


class OneConvolutionTrainer(nnUNetTrainer):  # type: ignore[misc]
    """A trainer whose step can be counted by hand."""

    @staticmethod
    def build_network_architecture(
        plans_manager: Any, configuration_manager: Any, inputs: int, outputs: int, deep_supervision: bool = True
    ) -> nn.Module:
        return nn.Conv2d(inputs, outputs, 3, padding=1)

    def _build_loss(self) -> nn.Module:
        return SumOfOutputs()


def step_of(trainer: type[nnUNetTrainer], configuration: str) -> StepCost:
    plans = make_plans()
    resolved = PlansManager(deepcopy(plans)).get_configuration(configuration).configuration
    return count_step(trainer, dataset=make_dataset_json(), plans=plans, configuration=resolved)


def test_one_convolution_by_hand() -> None:
    step = step_of(OneConvolutionTrainer, "2d")
    batch, pixels, inputs, outputs, kernel = 2, 32 * 32, 1, 3, 9
    forward = 2 * batch * pixels * inputs * outputs * kernel  # a multiplication and an addition each
    assert step.flops == 2 * forward  # and once more for the kernel's gradient; the image needs none


# Without grouped convolutions, whose gradients torch's counter gets wrong (test_flops.py).
@pytest.mark.parametrize("trainer", ["nnUNetTrainer", "SpineUNet003Trainer"])
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_operations_are_those_of_a_real_step(trainer: str, configuration: str) -> None:
    found, manager = find_trainer(trainer), PlansManager(make_plans())
    plan = manager.get_configuration(configuration)
    network = found.build_network_architecture(manager, plan, 1, 3, True)
    real = RealStep(
        network, patch=plan.patch_size, batch=plan.batch_size, classes=3, loss=nnunet_loss(deep_supervision_outputs=2)
    )
    with FlopCounterMode(display=False) as counter:
        _, loss = real.forward()
        loss.backward()  # type: ignore[no-untyped-call]
    assert step_of(found, configuration).flops == counter.get_total_flops() > 0


def test_the_memory_is_that_of_the_planner() -> None:
    plans, trainer = make_plans(), find_trainer("nnUNetTrainer")
    resolved = PlansManager(deepcopy(plans)).get_configuration("3d_fullres").configuration
    planners = ConfigurationCounter(trainer, dataset=make_dataset_json(), plans=plans).count(resolved)
    assert step_of(trainer, "3d_fullres").memory == planners
