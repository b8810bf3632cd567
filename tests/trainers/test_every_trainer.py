"""Every trainer of the registry: found by name, true to its row, and able to train a step of nnU-Net's own.

The step runs on nnU-Net's loaders and the tiny dataset with the trainer's own recipe; where a row has options that make
a small network of the same structure (tests/networks/shrink_*.py), a subclass adds them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from nnunet_spine_ext.networks.registry import NETWORKS, entry
from nnunet_spine_ext.planning.fixed import FixedByRecipe
from nnunet_spine_ext.training.trainer import SpineTrainer
from tests.conftest import REPOSITORY
from tests.networks.contracts import SHRINK
from tests.training.tiny import MakeTrainer, log_of, make_plans

FindTrainer = Callable[[str], type[SpineTrainer]]
TRAINERS = [name for row in NETWORKS.values() for name in row.trainers]
WITHOUT_ROW = {"SpineBaselineTrainer"}
SLICES, PLANE = 4, 64
"""Voxels of a patch: nnU-Net's own blur needs four; five poolings of a paper's own network leave two in the plane."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def classes_in_folder() -> set[str]:
    trees = [ast.parse(path.read_text()) for path in (REPOSITORY / "trainers").glob("spine_*.py")]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}


def test_every_trainer_belongs_to_one_row() -> None:
    assert len(set(TRAINERS)) == len(TRAINERS)
    assert classes_in_folder() == {*TRAINERS, *WITHOUT_ROW}


@pytest.mark.parametrize("row", NETWORKS)
def test_trainers_of_a_row_train_its_network(find_trainer: FindTrainer, row: str) -> None:
    for name in NETWORKS[row].trainers:
        assert find_trainer(name).network_name == row


@pytest.mark.parametrize("row", NETWORKS)
def test_the_first_trainer_has_nnunets_own_recipe_and_plans_every_patch(find_trainer: FindTrainer, row: str) -> None:
    # Where a paper's recipe is the only one, the row is the paper's own form.
    first = find_trainer(NETWORKS[row].trainers[0])
    if first.__name__.endswith("PaperTrainer"):
        pytest.skip(f"{row} is trained by its paper's recipe alone")
    assert FixedByRecipe.of(first) == FixedByRecipe(patch=None, batch=None, configuration=None)
    assert first.recipe.epochs is None


def configuration_for(trainer: type[SpineTrainer]) -> str:
    """The configuration that a recipe is for; else 3D where the network itself is."""
    assert trainer.network_name is not None
    return FixedByRecipe.of(trainer).configuration or ("3d_fullres" if 3 in entry(trainer.network_name).dims else "2d")


def small_plans() -> dict[str, Any]:
    plans = make_plans()
    plans["configurations"]["2d"]["patch_size"] = [PLANE, PLANE]
    plans["configurations"]["3d_fullres"]["patch_size"] = [SLICES, PLANE, PLANE]
    plans["configurations"]["25d"] = {"inherits_from": "2d", "patch_size": [SLICES, PLANE, PLANE], "batch_size": 2}
    return plans


def shrunk(trainer: type[SpineTrainer]) -> type[SpineTrainer]:
    assert trainer.network_name is not None
    options = MappingProxyType({**trainer.network_options, **SHRINK.get(trainer.network_name, {})})
    own = {"network_options": options, "full_length_name": trainer.full_length_name, "__module__": trainer.__module__}
    return type(trainer.__name__, (trainer,), own)


def check_a_step(trainer: Any) -> None:
    """A step and a validation on nnU-Net's loaders; the weights load strictly into the network of a prediction."""
    trainer.initialize()
    train, validation = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    before = [p.detach().clone() for p in trainer.network.parameters()]
    assert np.isfinite(trainer.train_step(next(train))["loss"])
    changed = [not torch.equal(p, q) for p, q in zip(before, trainer.network.parameters(), strict=True)]
    assert sum(changed) > len(changed) / 2
    trainer.network.eval()
    output = trainer.validation_step(next(validation))
    assert np.isfinite(output["loss"])
    assert len(output["tp_hard"]) == 2
    manager = trainer.configuration_manager
    predicting = type(trainer).build_network_architecture(trainer.plans_manager, manager, 1, 3, False)
    predicting.load_state_dict(trainer.network.state_dict(), strict=True)
    with torch.no_grad():
        logits = predicting.eval()(torch.randn(1, 1, *manager.patch_size))
    assert logits.shape == (1, 3, *manager.patch_size)


@pytest.mark.parametrize("name", TRAINERS)
def test_trains_validates_and_builds_for_prediction(
    find_trainer: FindTrainer, make_trainer: MakeTrainer, name: str
) -> None:
    trainer = shrunk(find_trainer(name))
    made = make_trainer(trainer, configuration=configuration_for(trainer), plans=small_plans())
    check_a_step(made)
    assert f"Trainer: {name}, from " in log_of(made)


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["2d", "25d", "3d_fullres"])
@pytest.mark.parametrize("name", TRAINERS)
def test_trains_in_every_configuration_that_it_does_not_refuse(
    find_trainer: FindTrainer, make_trainer: MakeTrainer, name: str, configuration: str
) -> None:
    from nnunet_spine_ext.errors import SpineExtError

    made = make_trainer(shrunk(find_trainer(name)), configuration=configuration, plans=small_plans())
    try:
        made.check_suitable()
        made._build_loss()
        type(made).build_network_architecture(made.plans_manager, made.configuration_manager, 1, 3, True)
    except SpineExtError as refused:
        assert str(refused)
        return
    check_a_step(made)
