"""From the name of a trainer to its class, and to the name of the plans file made for it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from math import prod
from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.paths import make_trainers_findable
from nnunet_spine_ext.variant_names import varied_trainer

STOCK_PLANS = "SpineStockPlans"
"""Our plans for stock networks: never `nnUNetPlans`, which belongs to nnU-Net."""


def find_trainer(name: str) -> type[nnUNetTrainer]:
    """Return the trainer that nnU-Net's own look-up finds.

    Raises:
        SetupError: there is none.
    """
    make_trainers_findable()
    try:
        with redirect_stdout(io.StringIO()):  # the look-up prints every file that it reads
            trainer: type[nnUNetTrainer] = recursive_find_trainer_class_by_name(name)
    except RuntimeError as error:
        raise SetupError(
            f"nnU-Net finds no trainer called {name!r}. The names of ours: nnunet_spine networks; your own belong in a "
            "folder that nnUNet_extTrainer names."
        ) from error
    return trainer


def plans_name_of(trainer: type[nnUNetTrainer]) -> str:
    """Return the name of the plans made for a trainer: SpineHybridTrainer_5epochs → SpineHybridPlans."""
    name = varied_trainer(trainer.__name__).removesuffix("Trainer") + "Plans"
    return STOCK_PLANS if name.lower().startswith("nnunet") else name


def network_class_of(trainer: type[nnUNetTrainer]) -> type[Any] | None:
    """Return the class of the trainer's registry network, if a plans file can name it.

    `None` when the trainer trains the network that the plan names, and when its network is not built from the words of
    a plan: then the plan names nnU-Net's own, whose words it has, and the trainer alone knows the network.
    """
    network_name = getattr(trainer, "network_name", None)
    if network_name is None:
        return None
    from nnunet_spine_ext.networks.registry import NETWORKS

    if not is_planned(network_name):
        return None
    module, _, name = NETWORKS[network_name].network.rpartition(".")
    network: type[Any] = getattr(import_module(module), name)
    return network


def network_options_of(trainer: type[nnUNetTrainer]) -> dict[str, Any]:
    """Return the options of the trainer's registry network, as a plans file holds them."""
    network_name = getattr(trainer, "network_name", None)
    if network_name is None:
        return {}
    from nnunet_spine_ext.networks.registry import NETWORKS, SLICES_KEY

    if not is_planned(network_name):
        return {}
    options = {**NETWORKS[network_name].options, **trainer.network_options}
    return {name: value for name, value in options.items() if name != SLICES_KEY}


def is_planned(network_name: str) -> bool:
    """Return whether a plans file can name a network of the registry: it takes the words of a plan, in 3D as well."""
    from nnunet_spine_ext.networks.registry import NETWORKS

    row = NETWORKS[network_name]
    return row.family == "u-shape" and 3 in row.dims


def has_own_stages(trainer: type[nnUNetTrainer]) -> bool:
    """Return whether the trainer's network has stages of its own, so that the words of a plan do not shape it."""
    network_name = getattr(trainer, "network_name", None)
    if network_name is None:
        return False
    from nnunet_spine_ext.networks.registry import NETWORKS

    return NETWORKS[network_name].family == "slice"


def accepted_patch(trainer: type[nnUNetTrainer], configuration: Mapping[str, Any]) -> tuple[int, ...]:
    """Return a configuration's patch, rounded up to what the trainer's network can take.

    A patch always suits the strides of its plan. A trainer may build its network from other words than the plan's
    (`architecture_words`: a paper's own stages), whose strides then decide.
    """
    patch = tuple(int(n) for n in configuration["patch_size"])
    if getattr(trainer, "network_name", None) is None or has_own_stages(trainer):
        return patch
    from nnunet_spine_ext.networks.registry import entry, slice_axis

    words = trainer.architecture_words(ConfigurationManager(dict(configuration)))
    divisors = [prod(steps) for steps in zip(*words["strides"], strict=True)]
    axis = slice_axis(entry(trainer.network_name), words, patch)
    if axis is not None:
        divisors = [1 if i == axis else d for i, d in enumerate(divisors)] if len(divisors) == len(patch) else divisors
    divisors = [1] * (len(patch) - len(divisors)) + divisors
    return tuple(-(-n // d) * d for n, d in zip(patch, divisors, strict=False))
