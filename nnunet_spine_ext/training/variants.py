"""Variants of trainers, found by name: `SpineHybridTrainer_50epochs`, `SpineHybridTrainerGPUAug_1epochs_2iterations`.

nnU-Net asks each module of the trainers folder `hasattr(module, name)`. A module-level `__getattr__` (PEP 562) answers
for every variant, so that no class has to be written for each. The class carries the very name that was asked for:
nnU-Net names result folders by it and looks it up again when it predicts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from nnunet_spine_ext.training.gpu_augmentation.trainer import GPUAugmentation
from nnunet_spine_ext.training.recipe import Recipe
from nnunet_spine_ext.training.trainer import SpineTrainer
from nnunet_spine_ext.variant_names import GPU_AUGMENTATION

_VARIANT = re.compile(
    rf"(?P<base>\w+?)(?P<gpu>{GPU_AUGMENTATION})?"
    r"(?:_(?P<epochs>[1-9][0-9]*)epochs(?:_(?P<iterations>[1-9][0-9]*)iterations)?)?"
)

VALIDATION_SHARE = 5
"""nnU-Net validates 50 batches for 250 of training; a shortened epoch keeps the proportion."""


def epoch_variants(namespace: Mapping[str, object]) -> Callable[[str], type[SpineTrainer]]:
    """Return a module's `__getattr__` that makes `<Trainer>[GPUAug][_<N>epochs[_<M>iterations]]` of its own trainers.

    Args:
        namespace: the module's `globals()`.
    """
    made: dict[str, type[SpineTrainer]] = {}

    def __getattr__(name: str) -> type[SpineTrainer]:  # noqa: N807
        if name not in made:
            made[name] = _variant(name, namespace)
        return made[name]

    return __getattr__


def _variant(name: str, namespace: Mapping[str, object]) -> type[SpineTrainer]:
    module = str(namespace["__name__"])
    match = _VARIANT.fullmatch(name)
    base = namespace.get(match["base"]) if match else None
    # A class that the module only imports is another module's to vary.
    if not match or not (isinstance(base, type) and issubclass(base, SpineTrainer) and base.__module__ == module):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    own = {
        "__module__": module,
        "__doc__": base.__doc__,
        "full_length_name": base.full_length_name,
        "recipe": _shortened(base.recipe, match),
    }
    return type(name, (GPUAugmentation, base) if match["gpu"] else (base,), own)


def _shortened(recipe: Recipe, match: re.Match[str]) -> Recipe:
    if match["epochs"]:
        recipe = replace(recipe, epochs=int(match["epochs"]))
    if match["iterations"]:
        iterations = int(match["iterations"])
        validation = max(1, iterations // VALIDATION_SHARE)
        recipe = replace(recipe, training_iterations=iterations, validation_iterations=validation)
    return recipe
