"""The base of all our trainers: nnU-Net's own trainer with one of our networks, and said loudly which.

    class SpineXTrainer(SpineTrainer):
        network_name = "x"                    # a row of networks/registry.py; None = the network that the plan names
        network_options = {"block": "a"}      # of that network
        recipe = Recipe(epochs=200)           # numbers; all else is a hook to override: build_loss,
                                              # configure_optimizers, get_training_transforms, get_dataloaders ...

nnU-Net finds trainers by name outside any package, so a trainer never has `__init__` parameters of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_spine_ext.networks.registry import entry, slice_axis
from nnunet_spine_ext.training.deep_supervision import (
    DeepSupervisionLoss,
    deep_supervision_weights,
    slice_wise_scales,
)
from nnunet_spine_ext.training.encoder_weights import file_in_environment, load_encoder_weights
from nnunet_spine_ext.training.guards import (
    LossNotFinite,
    leaving_step_at_bad_loss,
    stop_for_loss,
    where_it_begins,
)
from nnunet_spine_ext.training.memory_check import check_memory
from nnunet_spine_ext.training.mirroring import choose_mirroring
from nnunet_spine_ext.training.network import build_network, resolve_architecture, set_deep_supervision, unwrapped
from nnunet_spine_ext.training.patch_check import check_dimensions, check_patch
from nnunet_spine_ext.training.recipe import Recipe
from nnunet_spine_ext.training.repeatable import RepeatableTrainer
from nnunet_spine_ext.training.startup import library_messages, provenance, startup_lines

PROVENANCE_KEY = "nnunet_spine_ext"
"""Key in a checkpoint's `init_args` that says which releases trained it. nnU-Net reads only "configuration" there."""

DEFAULT_DEVICE = torch.device("cuda")


class SpineTrainer(RepeatableTrainer):
    """nnU-Net's trainer with a network of the registry; every feature of nnU-Net keeps working."""

    network_name: ClassVar[str | None] = None
    network_options: ClassVar[Mapping[str, object]] = MappingProxyType({})
    recipe: ClassVar[Recipe] = Recipe()
    plan_patch_size: ClassVar[tuple[int, ...] | None] = None
    """The patch that `nnunet_spine plan` writes for this trainer, in the plan's axis order; None = counted."""
    plan_batch_size: ClassVar[int | None] = None
    plan_configuration: ClassVar[str | None] = None
    """The configuration that this recipe is for; None = any."""
    source_file: ClassVar[str] = __file__
    full_length_name: ClassVar[str] = "SpineTrainer"
    """The name without `_<N>epochs`: what plans are made for."""
    enable_deep_supervision: bool

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # nnU-Net drops the module from sys.modules after the look-up; its file is known only now.
        module = sys.modules.get(cls.__module__)
        cls.source_file = getattr(module, "__file__", None) or cls.source_file
        if "full_length_name" not in vars(cls):
            cls.full_length_name = cls.__name__

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int | str,
        dataset_json: dict[str, Any],
        device: torch.device = DEFAULT_DEVICE,
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.recipe.apply(self)
        self.provenance = provenance(self)
        self.my_init_kwargs[PROVENANCE_KEY] = self.provenance
        self._iteration = 0

    @property
    def dataset_id(self) -> int:
        """The number in `Dataset<ID>_<Name>`."""
        return int(self.plans_manager.dataset_name.split("_")[0].removeprefix("Dataset"))

    def check_suitable(self) -> None:
        """Raise a `SetupError` where this recipe cannot train dataset or configuration. Hook; the planner asks too."""
        check_dimensions(self)

    def initialize(self) -> None:
        """Build network, optimizer and loss as nnU-Net does; load published weights; log what was built."""
        self.check_suitable()
        check_patch(self)  # not while planning: there a patch that does not fit is the next one's turn
        with library_messages() as messages:
            super().initialize()
        if self.local_rank == 0:
            for line in (*startup_lines(self, SpineTrainer), *messages):
                self.print_to_log_file(line, add_timestamp=False)
        weights = file_in_environment()
        if weights is not None:
            self.print_to_log_file(load_encoder_weights(self.network, file=weights), add_timestamp=False)

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Return the trainer's network for any plan; nnU-Net calls this in training and in prediction alike."""
        if cls.network_name is None:
            network: nn.Module = super().build_network_architecture(
                plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
            )
            return network
        return build_network(
            cls.network_name,
            cls.architecture_words(configuration_manager),
            options=cls.build_options(configuration_manager),
            input_channels=num_input_channels,
            num_classes=num_output_channels,
            deep_supervision=enable_deep_supervision,
            patch_size=configuration_manager.patch_size,
        )

    @classmethod
    def build_options(cls, configuration_manager: ConfigurationManager) -> dict[str, object]:  # noqa: ARG003
        """Return the network's options, for any plan. Hook; the trainer's own here."""
        return dict(cls.network_options)

    @classmethod
    def architecture_words(cls, configuration_manager: ConfigurationManager) -> dict[str, Any]:
        """Return the words of a U-Net plan that the network is built from: those of the configuration. Hook."""
        return resolve_architecture(
            configuration_manager.network_arch_init_kwargs,
            names=configuration_manager.network_arch_init_kwargs_req_import,
        )

    def build_loss(self) -> nn.Module:
        """Return the loss of one output against one target: nnU-Net's own. Hook."""
        enabled = self.enable_deep_supervision
        self.enable_deep_supervision = False
        try:
            loss: nn.Module = super()._build_loss()
        finally:
            self.enable_deep_supervision = enabled
        return loss

    def _build_loss(self) -> nn.Module:
        loss = self.build_loss()
        if not self.enable_deep_supervision:
            return loss
        outputs = len(self._get_deep_supervision_scales() or ())
        keep_lowest = self.is_ddp and not self._do_i_compile()
        return DeepSupervisionLoss(loss, deep_supervision_weights(outputs, keep_lowest=keep_lowest))

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        """Return nnU-Net's scales, but 1 along the slices where the network works slice by slice."""
        scales: list[list[float]] | None = super()._get_deep_supervision_scales()
        if scales is None or self.network_name is None:
            return scales
        configuration = self.configuration_manager
        words = self.architecture_words(configuration)
        axis = slice_axis(entry(self.network_name), words, configuration.patch_size)
        return scales if axis is None else slice_wise_scales(scales, axis=axis, dims=len(configuration.patch_size))

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Switch the outputs of the network; never on in a recipe without deep supervision."""
        set_deep_supervision(self.network, enabled and self.enable_deep_supervision)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, tuple[int, ...]]:
        """Return nnU-Net's augmentation geometry, without mirroring along the spine where labels are ordered."""
        rotation, dummy_2d, initial_patch_size, axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        mirroring = choose_mirroring(
            axes,
            dataset=self.dataset_json,
            transpose_forward=self.plans_manager.transpose_forward,
            dimensions=len(self.configuration_manager.patch_size),
        )
        self.inference_allowed_mirroring_axes = mirroring.axes or None
        self.print_to_log_file(mirroring.reason)
        return rotation, dummy_2d, initial_patch_size, mirroring.axes

    def on_train_start(self) -> None:
        """Start as nnU-Net does, and compare the memory of a step with the plan's target and the GPU."""
        super().on_train_start()
        if self.local_rank == 0:
            self.print_to_log_file(check_memory(self), add_timestamp=False)

    def on_train_epoch_start(self) -> None:
        """Count iterations from 0 in each epoch."""
        super().on_train_epoch_start()
        self._iteration = 0

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Train one batch; a loss that is not finite stops the run, with the layer where it begins."""
        # Without a scaler, a bad loss would spoil all weights, and with them the traces of where it began.
        guard = leaving_step_at_bad_loss(self.loss) if self.grad_scaler is None else nullcontext()
        try:
            with guard:
                result: dict[str, Any] = super().train_step(batch)
        except LossNotFinite as left:
            self._stop(left.value, batch)
        if not np.isfinite(result["loss"]):
            self._stop(float(result["loss"]), batch)
        self._iteration += 1
        return result

    def _stop(self, loss: float, batch: dict[str, Any]) -> NoReturn:
        half_precision = self.grad_scaler is not None
        image = batch["data"].to(self.device)
        stop_for_loss(
            loss,
            epoch=self.current_epoch,
            iteration=self._iteration,
            network=type(unwrapped(self.network)).__name__,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            half_precision=half_precision,
            where=where_it_begins(self.network, image, half_precision=half_precision),
        )

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Warn of a validation loss that is not finite: nnU-Net would log it without a word."""
        if not all(np.isfinite(output["loss"]) for output in val_outputs):
            self.print_to_log_file("WARNING: a validation loss of this epoch is not finite.")
        super().on_validation_epoch_end(val_outputs)

    def save_checkpoint(self, filename: str) -> None:
        """Save as nnU-Net does, but whole or not at all: a kill while it writes must not cost the last checkpoint."""
        partial = Path(f"{filename}.partial")
        try:
            super().save_checkpoint(str(partial))
            if partial.exists():  # not on other ranks, and not with checkpoints switched off
                partial.replace(filename)
        finally:
            partial.unlink(missing_ok=True)

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load as nnU-Net does; tell if another release wrote the checkpoint."""
        super().load_checkpoint(filename_or_checkpoint)
        earlier = self.my_init_kwargs.get(PROVENANCE_KEY, {})
        changed = [f"{k} {earlier.get(k)} -> {v}" for k, v in self.provenance.items() if earlier.get(k) != v]
        if changed:
            self.print_to_log_file(f"NOTE: the checkpoint was written by other releases: {', '.join(changed)}")
        self.my_init_kwargs[PROVENANCE_KEY] = self.provenance
