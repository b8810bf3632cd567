from __future__ import annotations

import sys
from types import ModuleType

import pytest

from nnunet_spine_ext.training.recipe import Recipe
from nnunet_spine_ext.training.trainer import SpineTrainer
from nnunet_spine_ext.training.variants import epoch_variants

SOURCE = '''
"""A module as nnU-Net imports it: top level, by path."""
from nnunet_spine_ext.training.recipe import Recipe
from nnunet_spine_ext.training.trainer import SpineTrainer
from nnunet_spine_ext.training.variants import epoch_variants

class SpineOneTrainer(SpineTrainer):
    """One."""
    recipe = Recipe(epochs=200, learning_rate=0.5)

class SpineOneTrainer_2(SpineTrainer):
    """A name that is itself a beginning of one."""

NotATrainer = int

__getattr__ = epoch_variants(globals())
'''


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("spine_one")
    monkeypatch.setitem(sys.modules, "spine_one", made)
    exec(compile(SOURCE, "spine_one.py", "exec"), vars(made))
    return made


@pytest.mark.parametrize("epochs", [1, 5, 50, 2000])
def test_any_length_is_answered_under_the_very_name(module: ModuleType, epochs: int) -> None:
    name = f"SpineOneTrainer_{epochs}epochs"
    assert hasattr(module, name)
    variant = getattr(module, name)
    assert variant.__name__ == variant.__qualname__ == name
    assert issubclass(variant, module.SpineOneTrainer)
    assert variant.recipe == Recipe(epochs=epochs, learning_rate=0.5)
    assert variant.__doc__ == "One."
    assert variant.full_length_name == "SpineOneTrainer"


@pytest.mark.parametrize(("iterations", "validation"), [(1, 1), (4, 1), (10, 2), (250, 50)])
def test_iterations_keep_the_share_of_the_validation(module: ModuleType, iterations: int, validation: int) -> None:
    recipe = getattr(module, f"SpineOneTrainer_3epochs_{iterations}iterations").recipe
    assert (recipe.epochs, recipe.training_iterations, recipe.validation_iterations) == (3, iterations, validation)


def test_the_base_keeps_its_recipe(module: ModuleType) -> None:
    assert module.SpineOneTrainer_5epochs.recipe.epochs == 5
    assert module.SpineOneTrainer.recipe.epochs == 200


def test_the_same_module_answers_with_the_same_class(module: ModuleType) -> None:
    # nnU-Net asks twice: hasattr, then getattr.
    assert module.SpineOneTrainer_5epochs is module.SpineOneTrainer_5epochs


def test_names_that_contain_another_name(module: ModuleType) -> None:
    assert issubclass(module.SpineOneTrainer_2_5epochs, module.SpineOneTrainer_2)


@pytest.mark.parametrize(
    "name",
    [
        "SpineOneTrainer_0epochs",
        "SpineOneTrainer_05epochs",
        "SpineOneTrainer_-1epochs",
        "SpineOneTrainer_epochs",
        "SpineOneTrainer_5epoch",
        "SpineOneTrainer_5epochsX",
        "SpineOneTrainer_5epochs_0iterations",
        "SpineOneTrainer_5iterations",
        "SpineOneTrainer_5epochs\n",
        "SpineTwoTrainer_5epochs",
        "SpineTrainer_5epochs",  # imported here, at home elsewhere
        "Recipe_5epochs",
        "NotATrainer_5epochs",
        "epoch_variants_5epochs",
        "_5epochs",
        "__path__",
        "nnUNetTrainer",
    ],
)
def test_other_names_are_not_answered(module: ModuleType, name: str) -> None:
    assert not hasattr(module, name)
    with pytest.raises(AttributeError, match="module 'spine_one' has no attribute"):
        getattr(module, name)


def test_a_variant_knows_its_file(module: ModuleType) -> None:
    assert SpineTrainer.source_file.endswith("trainer.py")
    namespace = vars(module) | {"__file__": "/somewhere/spine_one.py"}
    module.__file__ = "/somewhere/spine_one.py"
    assert epoch_variants(namespace)("SpineOneTrainer_9epochs").source_file == "/somewhere/spine_one.py"
