"""What a training says about itself before it begins, and writes into its checkpoints.

"Is my trainer even used?" is the most frequent question about trainers outside nnU-Net; these lines answer it.
"""

from __future__ import annotations

import inspect
import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from torch import nn

import nnunet_spine_ext
from nnunet_spine_ext.training.deep_supervision import DeepSupervisionLoss
from nnunet_spine_ext.training.network import ignored_plan_options, parameter_count, unwrapped

if TYPE_CHECKING:
    from nnunet_spine_ext.training.trainer import SpineTrainer

HOOKS = (
    "build_loss", "configure_optimizers", "get_training_transforms", "get_dataloaders",
    "configure_rotation_dummyDA_mirroring_and_inital_patch_size",
)  # fmt: skip
"""The places where a recipe may differ from nnU-Net's in more than numbers."""


def provenance(trainer: SpineTrainer) -> dict[str, str]:
    """Return what a checkpoint must say for its model to be loaded, and trusted, elsewhere."""
    return {
        "trainer": type(trainer).__name__,
        "network": trainer.network_name or "the network of the plan",
        "nnunet_spine_ext": nnunet_spine_ext.__version__,
        "nnunetv2": version("nnunetv2"),
        "torch": version("torch"),
        "python": platform.python_version(),
    }


@contextmanager
def library_messages() -> Iterator[list[str]]:
    """Collect what the library logs meanwhile, such as how a network reads the axes of a plan."""
    library, said = logging.getLogger(nnunet_spine_ext.__name__), list[str]()
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    level = library.level
    library.addHandler(handler)
    library.setLevel(logging.INFO)
    try:
        yield said
    finally:
        library.setLevel(level)
        library.removeHandler(handler)


def startup_lines(trainer: SpineTrainer, base: type[SpineTrainer]) -> Iterator[str]:
    """Yield the lines of the log about an initialised trainer; `base` is what its hooks are compared with."""
    facts = trainer.provenance
    releases = ", ".join(f"{name} {facts[name]}" for name in ("nnunet_spine_ext", "nnunetv2", "torch", "python"))
    yield f"Trainer: {type(trainer).__name__}, from {trainer.source_file}"
    yield f"Releases: {releases}"
    yield f"Network: {_network_line(trainer)}"
    yield f"Recipe: {_recipe_line(trainer, base)}"
    yield f"Loss: {_loss_line(trainer.loss)}; optimizer: {type(trainer.optimizer).__name__}, " + (
        f"learning rate {trainer.optimizer.param_groups[0]['lr']:g}, {type(trainer.lr_scheduler).__name__}"
    )
    yield from _plan_lines(trainer)


def _network_line(trainer: SpineTrainer) -> str:
    network = unwrapped(trainer.network)
    source = f"{type(network).__module__}.{type(network).__name__}"
    name = trainer.network_name or "the plan's own"
    options = f", options {dict(trainer.network_options)}" if trainer.network_options else ""
    return f"{name}: {source}, {parameter_count(network):,} parameters{options} (file {_file_of(network)})"


def _file_of(network: nn.Module) -> str:
    try:
        return inspect.getfile(type(network))
    except (TypeError, OSError):
        return "unknown"


def _recipe_line(trainer: SpineTrainer, base: type[SpineTrainer]) -> str:
    numbers = [f"{name} {value}" for name, value in trainer.recipe.differences.items()]
    hooks = [f"own {name}" for name in HOOKS if getattr(type(trainer), name) is not getattr(base, name)]
    return f"nnU-Net's own, except {', '.join(numbers + hooks)}" if numbers + hooks else "nnU-Net's own"


def _loss_line(loss: nn.Module) -> str:
    if not isinstance(loss, DeepSupervisionLoss):
        return type(loss).__name__
    weights = ", ".join(f"{w:.4g}" for w in loss.weight_factors)
    return f"{type(loss.loss).__name__} at {len(loss.weight_factors)} resolutions, weights {weights}"


def _plan_lines(trainer: SpineTrainer) -> Iterator[str]:
    """Yield a line for each way in which the plan is not the one this trainer would have made."""
    configuration, plans = trainer.configuration_manager, trainer.plans_manager.plans_name
    if trainer.network_name is None:
        if not configuration.network_arch_class_name.startswith("dynamic_network_architectures."):
            yield f"NOTE: {plans} names {configuration.network_arch_class_name}; this trainer trains what a plan names."
    else:
        ignored = ignored_plan_options(configuration.network_arch_init_kwargs, trainer.network_options)
        for name, difference in ignored.items():
            yield f"NOTE: network option {name}: {difference}; the trainer decides."
    for what, wanted, found in (
        ("patch size", trainer.plan_patch_size, tuple(configuration.patch_size)),
        ("batch size", trainer.plan_batch_size, configuration.batch_size),
    ):
        if wanted is not None and wanted != found:
            yield (
                f"NOTE: {what} {found} from {plans}, where this recipe has {wanted}. A plan of its own: "
                f"nnunet_spine plan -d {trainer.dataset_id} -tr {trainer.full_length_name}"
            )
