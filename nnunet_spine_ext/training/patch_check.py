"""Does the network take the patch of the plan? If not, the first step would fail, deep inside the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.networks.registry import entry
from nnunet_spine_ext.planning.trainers import accepted_patch

if TYPE_CHECKING:
    from nnunet_spine_ext.training.trainer import SpineTrainer


def check_dimensions(trainer: SpineTrainer) -> None:
    """Refuse a 2D configuration for a network of three dimensions, in training and in planning alike.

    Raises:
        SetupError: it is one.
    """
    dims = len(trainer.configuration_manager.patch_size)
    if trainer.network_name is None or dims != 2 or dims in entry(trainer.network_name).dims:
        return
    name = trainer.configuration_name
    which = f"configuration {name}" if name else "this configuration"
    raise SetupError(
        f"{trainer.full_length_name} trains a 3D network; {which} is 2D. Use 3d_fullres, or a trainer whose network "
        "takes 2D (nnunet_spine networks)."
    )


def check_patch(trainer: SpineTrainer) -> None:
    """Refuse a patch that the trainer's network does not take.

    Raises:
        SetupError: the network's stages do not divide it. They are the plan's, whose patch then was edited by hand, or
            a paper's own.
    """
    if trainer.network_name is None:
        return
    configuration, name = trainer.configuration_manager, trainer.configuration_name
    patch = tuple(int(n) for n in configuration.patch_size)
    accepted = accepted_patch(type(trainer), configuration.configuration)
    if accepted != patch:
        raise SetupError(
            f"The stages of {trainer.full_length_name}'s network do not divide the patch {patch} of configuration "
            f"{name} in {trainer.plans_manager.plans_name}; the next one that they divide is {accepted}. "
            + _remedy(trainer)
        )


def _remedy(trainer: SpineTrainer) -> str:
    own = trainer.full_length_name
    command = f"nnunet_spine plan -d {trainer.dataset_id} -tr {own} -c {trainer.configuration_name}"
    other = own.replace("PaperTrainer", "Trainer")
    stages = f", or take {other}, whose stages are the plan's" if other != own else ""
    return f"Make a plan for it ({command}){stages}."
