"""Counts of a model, each against a plain one: sums of numel, torch's counter on real tensors, epochs times steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch.utils.flop_counter import FlopCounterMode

from nnunet_spine_ext.benchmark.costs.counts import count_network, count_training, training_steps
from nnunet_spine_ext.benchmark.costs.plan import PlannedModel, built_trainer, read_planned
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.planning.counting import ConfigurationCounter
from nnunet_spine_ext.planning.trainers import find_trainer
from nnunet_spine_ext.training.recipe import Recipe
from tests.conftest import NnunetFolders
from tests.training.tiny import make_dataset_json, make_plans


def planned(trainer: str, configuration: str = "3d_fullres") -> PlannedModel:
    return PlannedModel(
        trainer=trainer, configuration=configuration, plans=make_plans(), dataset=make_dataset_json(), folder=Path()
    )


@pytest.mark.usefixtures("nnunet_folders")
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
@pytest.mark.parametrize("trainer", ["nnUNetTrainer", "SpineHybridTrainer_5epochs"])
def test_weights_and_multiply_accumulates_are_those_of_a_real_forward_pass(trainer: str, configuration: str) -> None:
    counted = count_network(planned(trainer, configuration))
    manager = PlansManager(make_plans())
    plan = manager.get_configuration(configuration)
    network = find_trainer(trainer).build_network_architecture(manager, plan, 1, 3, False).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 1, *plan.patch_size))
    assert counted.gmac == counter.get_total_flops() / 2 / 1e9 > 0
    assert counted.parameters == sum(p.numel() for p in network.parameters())
    assert counted.input_size == (1, *plan.patch_size)
    assert counted.frozen_parameters == 0


@pytest.mark.usefixtures("nnunet_folders")
def test_heads_that_never_learn_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    hybrid = find_trainer("SpineHybridTrainer")

    class OneOutputTrainer(hybrid):  # type: ignore[misc,valid-type]
        recipe = Recipe(deep_supervision=False)

    assert count_network(planned("SpineHybridTrainer")).frozen_parameters == 0
    monkeypatch.setattr("nnunet_spine_ext.planning.trainers.find_trainer", lambda name: OneOutputTrainer)
    # The head of the lower resolution, from 8 channels to 3 classes, only exists.
    assert count_network(planned("OneOutputTrainer")).frozen_parameters == 8 * 3 + 3


def test_memory_and_steps_of_a_training(nnunet_folders: NnunetFolders) -> None:
    model = planned("nnUNetTrainer_5epochs")
    counted = count_training(model)
    memory = ConfigurationCounter(find_trainer("nnUNetTrainer"), dataset=make_dataset_json(), plans=make_plans()).count(
        PlansManager(make_plans()).get_configuration("3d_fullres").configuration
    )
    assert counted.memory_gb == memory.total / 2**30
    assert (counted.steps, counted.batch_size) == (5 * 250, 2)
    assert counted.flops == counted.step_flops * 1250
    assert training_steps(planned("SpineHybridTrainer_3epochs_2iterations")) == 6
    assert not list(nnunet_folders.results.iterdir())  # counting is no training


def test_a_trainer_built_to_be_measured_writes_nowhere_else(
    nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_wandb_enabled", "1")  # would start a run
    with built_trainer(planned("nnUNetTrainer")) as trainer:
        written = Path(trainer.log_file)
        assert written.is_file()
        assert nnunet_folders.results not in written.parents
        assert trainer.logger.loggers == []
    assert not written.parent.exists()


def test_plans_are_read_as_nnunet_reads_them(tiny: NnunetFolders) -> None:
    folder = tiny.preprocessed / "Dataset901_Tiny"
    plans = make_plans()
    plans["configurations"]["wide"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    (folder / "WidePlans.json").write_text(json.dumps({**plans, "plans_name": "WidePlans"}))
    models = [
        Model(trainer="nnUNetTrainer", plans=name, configuration=configuration, title="any")
        for name, configuration in (("WidePlans", "wide"), ("nnUNetPlans", "3d_fullres"), ("WidePlans", "3d_fullres"))
    ]
    wide, stock, same = read_planned(901, models)
    assert wide.resolved()["batch_size"] == 7
    assert wide.resolved()["patch_size"] == [4, 32, 32]
    assert stock.resolved()["batch_size"] == 2
    assert len({wide.digest, stock.digest, same.digest}) == 3
