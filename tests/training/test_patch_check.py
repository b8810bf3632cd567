"""A patch is refused at the start exactly where the network would fail in the first step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.registry import NETWORKS, NetworkEntry
from nnunet_spine_ext.planning.fixed import FixedByRecipe
from nnunet_spine_ext.training.patch_check import check_patch
from tests.training.tiny import MakeTrainer, make_plans

PAPER = [name for row in NETWORKS.values() for name in row.trainers if name.endswith("PaperTrainer")]
PLANNED = [name for row in NETWORKS.values() for name in row.trainers if row.family == "u-shape" and 2 in row.dims]


def plans(plane: int) -> dict[str, Any]:
    made = make_plans()
    made["configurations"]["2d"]["patch_size"] = [plane, 64]
    made["configurations"]["3d_fullres"]["patch_size"] = [4, plane, 64]
    made["configurations"]["25d"] = {"inherits_from": "2d", "patch_size": [4, plane, 64], "batch_size": 2}
    return made


def fails_in_the_first_step(trainer: Any) -> bool:
    configuration = trainer.configuration_manager
    with torch.device("meta"):
        try:
            network = trainer.build_network_architecture(trainer.plans_manager, configuration, 1, 3, False)
            network(torch.zeros(2, 1, *configuration.patch_size))
        except NetworkPlanError:
            return True
    return False


@pytest.mark.parametrize("plane", [64, 68, 72, 80, 96])
@pytest.mark.parametrize("name", ["SpineCTUNetPaperTrainer", "SpineMiniSegPaperTrainer", "SpineSegNetPaperTrainer",
                                  "SpineResUNetPPPaperTrainer", "SpineUNetDense001PaperTrainer", "SpineUNet001Trainer",
                                  "SpineUNetPPTrainer", "SpineUNet3D004PaperTrainer"])  # fmt: skip
def test_refused_is_what_would_fail(make_trainer: MakeTrainer, name: str, plane: int) -> None:
    configuration = "3d_fullres" if name == "SpineUNet3D004PaperTrainer" else "2d"
    trainer = make_trainer(name, configuration=configuration, plans=plans(plane))
    if fails_in_the_first_step(trainer):
        with pytest.raises(SetupError, match=rf"do not divide the patch \([\d, ]*{plane}, 64\) of configuration"):
            check_patch(trainer)
    else:
        check_patch(trainer)


@pytest.mark.parametrize("name", [n for n in PAPER if n in PLANNED])
def test_every_papers_own_network_refuses_a_patch_and_says_what_to_do(make_trainer: MakeTrainer, name: str) -> None:
    trainer = make_trainer(name, configuration="2d", plans=plans(68))
    with pytest.raises(SetupError) as refused:
        trainer.initialize()
    assert trainer.network is None
    text = str(refused.value)
    assert "the patch (68, 64) of configuration 2d in nnUNetPlans; the next one that they divide is (" in text
    assert f"nnunet_spine plan -d 901 -tr {name} -c 2d" in text
    other = name.replace("PaperTrainer", "Trainer")
    assert f"or take {other}, whose stages are the plan's." in text
    assert any(other in row.trainers for row in NETWORKS.values())


def test_a_patch_that_was_edited_by_hand_is_refused_too(make_trainer: MakeTrainer) -> None:
    with pytest.raises(SetupError, match=r"patch \(67, 64\).* is \(68, 64\)\. Make a plan for it \([^)]*\)\.$"):
        make_trainer("SpineUNet003Trainer", configuration="2d", plans=plans(67)).initialize()


@pytest.mark.parametrize("name", ["SpineUNet3D004PaperTrainer", "SpineUNet3D004Trainer", "SpineHybridPaperTrainer"])
def test_networks_of_volumes_refuse_slices(make_trainer: MakeTrainer, name: str) -> None:
    with pytest.raises(SetupError, match=f"{name} trains a 3D network; configuration 2d is 2D"):
        make_trainer(name, configuration="2d").initialize()


@pytest.mark.parametrize("name", ["SpineBaselineTrainer", "SpinePSPNetPaperTrainer", "SpineRes50UNetTrainer"])
def test_networks_without_such_stages_are_not_checked(make_trainer: MakeTrainer, name: str) -> None:
    check_patch(make_trainer(name, configuration="2d", plans=plans(67)))


@pytest.mark.parametrize(
    "row", [row for row in NETWORKS.values() if set(row.trainers) & set(PAPER)], ids=lambda r: r.name
)
def test_every_papers_recipe_says_which_configuration_it_is_for(
    find_trainer: Callable[[str], Any], row: NetworkEntry
) -> None:
    for name in set(row.trainers) & set(PAPER):
        trainer = find_trainer(name)
        expected = "25d" if trainer.paper == "001" else "2d" if 2 in row.dims else "3d_fullres"
        assert FixedByRecipe.of(trainer).configuration == expected
