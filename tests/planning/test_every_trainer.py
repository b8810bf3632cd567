"""`nnunet_spine plan -tr` for every trainer of the registry: a patch that its network takes, counted with that network.

One of each kind by default; all of them, in 2d, 25d and 3d_fullres, with -m slow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_spine_ext.errors import PlanError
from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.planning.counting import UnsuitableError
from nnunet_spine_ext.planning.fixed import FixedByRecipe
from nnunet_spine_ext.planning.planner import check, plan
from nnunet_spine_ext.planning.simulation import build_fake, fake_mode
from nnunet_spine_ext.planning.trainers import find_trainer
from tests.conftest import NnunetFolders
from tests.planning.synthetic import LABELS, write_dataset

TRAINERS = [name for row in NETWORKS.values() for name in row.trainers]
SHOWN = ["SpineUNetPPTrainer", "SpineMiniSegTrainer", pytest.param("SpineTransUNetTrainer", marks=pytest.mark.slow)]
"""Supervision at full resolution, stages of its own on a plan, and a network tied to its patch."""
TOO_LARGE = ("SpineHybridPaperTrainer", "25d")
"""744 million weights; in 3d_fullres its recipe fixes the patch, whatever that costs."""
DATASET: dict[str, Any] = {"shape": (12, 96, 72), "spacing_mm": (4.4, 0.9, 0.9)}


def planned(trainer: str, configuration: str) -> Path:
    return plan(501, trainer=trainer, configurations=[configuration], say=lambda _: None)


def check_plan(trainer: str, configuration: str) -> None:
    """The patch is taken by the network that training builds, and the file says what was counted."""
    file = planned(trainer, configuration)
    manager = PlansManager(str(file))
    chosen = manager.get_configuration(configuration)
    patch = tuple(chosen.patch_size)
    found = find_trainer(trainer)
    mode = fake_mode()
    network = build_fake(
        lambda: found.build_network_architecture(manager, chosen, 1, len(LABELS), False), mode, device="cpu"
    ).eval()
    with mode:
        logits = network(torch.empty(chosen.batch_size, 1, *patch))
    assert logits.shape == (chosen.batch_size, len(LABELS), *patch)
    fixed = FixedByRecipe.of(found)
    assert chosen.batch_size == (fixed.batch_of(configuration) or chosen.batch_size) >= 1
    counted = json.loads(file.read_text())["spine"]["counted_gb"][configuration]
    rows = check(501, file.stem, say=lambda _: None)
    memory = next(row.memory for row in rows if row.configuration == configuration)
    assert memory is not None
    assert memory.total_gb == pytest.approx(counted, abs=1e-3)
    held = sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers()))
    assert memory.weights == held
    assert memory.peak > memory.weights + memory.gradients + memory.inputs


@pytest.mark.parametrize("trainer", SHOWN)
def test_a_plan_fits_the_network_of_its_trainer(nnunet_folders: NnunetFolders, trainer: str) -> None:
    write_dataset(nnunet_folders, **DATASET)
    check_plan(trainer, "3d_fullres")


def test_a_network_of_three_dimensions_is_not_planned_in_2d(nnunet_folders: NnunetFolders) -> None:
    write_dataset(nnunet_folders, **DATASET)
    with pytest.raises(UnsuitableError, match="SpineHybridPaperTrainer trains a 3D network; this configuration is 2D"):
        check_plan("SpineHybridPaperTrainer", "2d")


def test_a_network_too_large_for_the_target_is_refused_with_its_figures(nnunet_folders: NnunetFolders) -> None:
    write_dataset(nnunet_folders, **DATASET)
    with pytest.raises(PlanError, match="SpineHybridPaperTrainer does not fit 8 GB: its smallest patch 12×32×32"):
        check_plan(*TOO_LARGE)


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["2d", "25d", "3d_fullres"])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_trainer_is_planned_or_refuses(nnunet_folders: NnunetFolders, trainer: str, configuration: str) -> None:
    write_dataset(nnunet_folders, **DATASET)
    if (trainer, configuration) == TOO_LARGE:
        pytest.skip("tested above: refused for its size, whatever the configuration")
    found = find_trainer(trainer)
    assert found.network_name is not None
    own = "3d_fullres" if 3 in NETWORKS[found.network_name].dims else "2d"
    try:
        check_plan(trainer, configuration)
    except UnsuitableError:
        assert configuration != (FixedByRecipe.of(found).configuration or own)
