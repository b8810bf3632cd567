"""The memory of a configuration of a plan, trained by a certain trainer: its own network, its own loss."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_spine_ext.errors import PlanError, SetupError
from nnunet_spine_ext.planning.memory import Loss, TrainingMemory, count_training_memory
from nnunet_spine_ext.planning.simulation import Precision


class UnsuitableError(PlanError):
    """A trainer that cannot train a configuration, however large the GPU."""


class ConfigurationCounter:
    """Counts configurations of one dataset for one trainer, each only once.

    The network is what the trainer's own `build_network_architecture` returns, the loss what its `_build_loss`
    returns, so every nnU-Net trainer can be counted, whatever it changes.
    """

    def __init__(
        self,
        trainer: type[nnUNetTrainer],
        *,
        dataset: Mapping[str, Any],
        plans: Mapping[str, Any] | None = None,
        precision: Precision = "fp16",
        on_count: Callable[[], object] = lambda: None,
    ) -> None:
        """Take the trainer's class, the content of dataset.json and, where there is one, of the plans file.

        `on_count` is called after each count, for a progress bar.
        """
        self.trainer = trainer
        self._dataset = dict(dataset)
        # The trainers read no more of the plans than this when they build their network.
        self._plans = PlansManager({"label_manager": "LabelManager", "configurations": {}, **(plans or {})})
        self._labels = self._plans.get_label_manager(self._dataset)
        self._precision = precision
        self._on_count = on_count
        self._counted: dict[str, TrainingMemory] = {}

    def count(self, configuration: Mapping[str, Any], *, batch_size: int | None = None) -> TrainingMemory:
        """Return the memory of one training step.

        Args:
            configuration: of a plan, inheritance resolved.
            batch_size: instead of the configuration's.

        Raises:
            UnsuitableError: the network cannot be built for this configuration, or cannot take its patch.
        """
        batch = int(configuration["batch_size"]) if batch_size is None else batch_size
        relevant = [configuration[key] for key in ("architecture", "patch_size")]
        previous, batch_dice = configuration.get("previous_stage"), configuration.get("batch_dice", False)
        key = json.dumps([relevant, batch, previous, batch_dice], default=int)
        if key not in self._counted:
            self._counted[key] = self._count({"batch_dice": False, **configuration}, batch)
            self._on_count()
        return self._counted[key]

    def _count(self, configuration: dict[str, Any], batch_size: int) -> TrainingMemory:
        manager = ConfigurationManager(configuration)
        channels = determine_num_input_channels(self._plans, manager, self._dataset)
        labels = self._labels
        regions = labels.num_segmentation_heads + (labels.ignore_label is not None) if labels.has_regions else None
        patch = tuple(int(n) for n in manager.patch_size)
        trainer = resting_trainer(self.trainer, self._plans, manager, self._dataset)
        try:
            _check_suitable(trainer)
            return count_training_memory(
                lambda: _network(trainer, channels, labels.num_segmentation_heads),
                patch_size=patch,
                batch_size=batch_size,
                input_channels=channels,
                loss=_loss(trainer),
                target_channels=regions,
                precision=self._precision,
                optimizer_state_per_parameter=_optimizer_states(trainer),
            )
        except (ValueError, SetupError, PlanError) as error:
            size = "×".join(map(str, patch))
            raise UnsuitableError(
                f"{self.trainer.__name__} cannot train on patches of {size} voxels: {error}"
            ) from error


def resting_trainer(
    trainer: type[nnUNetTrainer],
    plans: PlansManager,
    configuration: ConfigurationManager,
    dataset: Mapping[str, Any],
) -> Any:  # noqa: ANN401  (nnU-Net has no types)
    """Return a trainer that knows its plan and labels but was not started.

    nnU-Net's constructor makes result folders and a log file, which counting must not do; so it is not called.
    """
    resting = object.__new__(trainer)
    vars(resting).update(
        plans_manager=plans,
        configuration_manager=configuration,
        configuration_name="",
        dataset_json=dict(dataset),
        label_manager=plans.get_label_manager(dict(dataset)),
        device=torch.device("cpu"),
        is_ddp=False,
        local_rank=0,
        enable_deep_supervision=True,
        initial_lr=1e-2,
        weight_decay=3e-5,
        num_epochs=1000,
        print_to_log_file=lambda *_, **__: None,
    )
    recipe = getattr(trainer, "recipe", None)
    if recipe is not None:
        recipe.apply(resting)
    return resting


def _check_suitable(trainer: Any) -> None:  # noqa: ANN401
    check = getattr(trainer, "check_suitable", None)
    if check is not None:
        check()


def _optimizer_states(trainer: Any) -> int:  # noqa: ANN401
    """Return how many values the trainer's optimizer keeps for a weight, seen after one step with a small network."""
    layer = nn.Linear(3, 5)
    trainer.network = layer
    try:
        optimizer, _ = trainer.configure_optimizers()
    except AttributeError:
        return 1  # it asks for parts of a real network; nnU-Net's own optimizer keeps one
    finally:
        del trainer.network
    layer.weight.grad = torch.zeros_like(layer.weight)
    layer.bias.grad = torch.zeros_like(layer.bias)
    optimizer.step()
    state = optimizer.state.get(layer.weight, {})
    return sum(torch.is_tensor(value) and value.shape == layer.weight.shape for value in state.values())


def _loss(trainer: Any) -> Loss:  # noqa: ANN401
    loss: Loss = trainer._build_loss()
    return loss


def _network(trainer: Any, input_channels: int, outputs: int) -> nn.Module:  # noqa: ANN401
    return build_as_nnunet(
        trainer,
        trainer.plans_manager,
        trainer.configuration_manager,
        input_channels,
        outputs,
        deep_supervision=trainer.enable_deep_supervision,
    )


def build_as_nnunet(
    trainer: Any,  # noqa: ANN401  (a trainer, or its class)
    plans: PlansManager,
    configuration: ConfigurationManager,
    input_channels: int,
    outputs: int,
    *,
    deep_supervision: bool,
) -> nn.Module:
    """Build a trainer's network as nnU-Net does, by the present or the former signature of the method."""
    build = trainer.build_network_architecture
    plan: tuple[Any, ...]
    if "plans_manager" in inspect.signature(build).parameters:
        plan = plans, configuration
    else:
        plan = (
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
        )
    network: nn.Module = build(*plan, input_channels, outputs, deep_supervision)
    return network
