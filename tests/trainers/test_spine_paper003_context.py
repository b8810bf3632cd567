"""Trainers of paper 003's context networks: which network, which recipe, and a whole run with a small encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_spine_ext.networks.registry import NETWORKS, build_preset
from nnunet_spine_ext.networks.slices import SliceWise
from nnunet_spine_ext.training.auxiliary import AuxLoss
from nnunet_spine_ext.training.entry import predict, train
from nnunet_spine_ext.training.label_losses import DiceLoss
from tests.conftest import NnunetFolders
from tests.training.tiny import NAME, MakeTrainer, make_plans

FindTrainer = Callable[[str], Any]

# Network, whether the paper's form, weights for 20 classes.
TRAINERS = {
    "SpinePSPNetTrainer": ("pspnet", 65_577_940 - 512),
    "SpinePSPNetPaperTrainer": ("pspnet", 27_495_511),
    "SpineDeepLabV3PlusTrainer": ("deeplabv3plus", 59_337_780 - 256),
    "SpineDeepLabV3PlusPaperTrainer": ("deeplabv3plus", 59_337_780),
    "SpineDenseASPPTrainer": ("denseaspp", 18_416_076),
    "SpineDenseASPPPaperTrainer": ("denseaspp", 18_416_076),
}
PAPERS = [name for name in TRAINERS if "Paper" in name]
SMALL = {"encoder": "test_resnet"}


@pytest.fixture(autouse=True)
def keep_threads() -> Iterator[None]:
    """Undo what nnU-Net's command does on a CPU: torch on all cores, for the rest of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_small(find_trainer: FindTrainer, make_trainer: MakeTrainer) -> MakeTrainer:
    """Make one of the trainers with a small encoder, for slices."""

    def make(name: str, *, options: dict[str, Any] | None = None, **more: Any) -> Any:
        trainer = find_trainer(name)
        trainer.network_options = MappingProxyType({**trainer.network_options, **SMALL, **(options or {})})
        return make_trainer(trainer, **{"configuration": "2d", **more})

    return make


def on_meta(trainer: Any, *, configuration: str) -> nn.Module:
    manager = PlansManager(make_plans())
    with torch.device("meta"):
        network: nn.Module = trainer.build_network_architecture(
            manager, manager.get_configuration(configuration), 1, 20, False
        )
    return network


def outline(network: nn.Module) -> list[str]:
    """Every module that computes something, as it prints itself: kernels, dilations, momenta."""
    return [repr(m) for m in network.modules() if not list(m.children())]


@pytest.mark.parametrize("name", TRAINERS)
def test_each_trainer_builds_its_network(find_trainer: FindTrainer, name: str) -> None:
    trainer = find_trainer(name)
    row, size = TRAINERS[name]
    assert trainer.network_name == row
    assert name in NETWORKS[row].trainers
    network = on_meta(trainer, configuration="2d")
    assert sum(p.numel() for p in network.parameters()) == size
    assert isinstance(on_meta(trainer, configuration="3d_fullres"), SliceWise)


@pytest.mark.parametrize("name", PAPERS)
def test_paper_trainers_build_what_reproduces_the_papers_table(find_trainer: FindTrainer, name: str) -> None:
    row = NETWORKS[TRAINERS[name][0]]
    (oracle,) = [o for o in row.oracles if o.what.startswith("paper 003")]
    with torch.device("meta"):
        preset = build_preset(row.name, oracle.arguments)
    assert outline(on_meta(find_trainer(name), configuration="2d")) == outline(preset)


@pytest.mark.parametrize("name", TRAINERS)
def test_recipe_is_nnunets_or_the_papers(make_small: MakeTrainer, name: str) -> None:
    trainer = make_small(name)
    trainer.initialize()
    optimizer = trainer.optimizer
    assert not trainer.enable_deep_supervision
    if name in PAPERS:
        assert isinstance(trainer.loss, DiceLoss)
        assert type(optimizer) is torch.optim.Adam
        assert optimizer.param_groups[0]["lr"] == 5e-4
    else:
        assert type(optimizer) is torch.optim.SGD
        assert optimizer.param_groups[0]["lr"] == 1e-2
        assert trainer.num_epochs == 1000


@pytest.mark.parametrize(
    "name", [n if n == "SpineDeepLabV3PlusPaperTrainer" else pytest.param(n, marks=pytest.mark.slow) for n in TRAINERS]
)
def test_the_loss_falls_on_a_batch_seen_again(make_small: MakeTrainer, name: str) -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # the loader draws from it
    trainer = make_small(name)
    trainer.initialize()
    train_loader, _ = trainer.get_dataloaders()
    seen = next(train_loader)
    trainer.on_train_epoch_start()
    # Residual blocks begin small (`RESIDUAL_SCALE`), so a deep encoder's first steps are short ones: forty of them.
    losses = [float(trainer.train_step(seen)["loss"]) for _ in range(40)]
    assert min(losses[-5:]) < losses[0] - 0.1


def test_a_second_head_reaches_the_loss(make_small: MakeTrainer) -> None:
    trainer = make_small("SpinePSPNetTrainer", options={"aux": True})
    trainer.initialize()
    assert isinstance(trainer.loss, AuxLoss)
    train_loader, validation_loader = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    trainer.train_step(next(train_loader))
    assert all(p.grad is not None for p in trainer.network.parameters())
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert np.isfinite(trainer.validation_step(next(validation_loader))["loss"])


@pytest.mark.parametrize(
    ("name", "configuration"),
    [("SpineDeepLabV3PlusTrainer", "2d"), ("SpineDeepLabV3PlusPaperTrainer", "3d_fullres")],
)
def test_train_validate_and_predict(
    tiny: NnunetFolders, monkeypatch: pytest.MonkeyPatch, name: str, configuration: str
) -> None:
    # nnU-Net looks the trainer up again to predict; the row is what both have in common.
    small = replace(NETWORKS["deeplabv3plus"], options={**SMALL, "width": 16})
    monkeypatch.setitem(NETWORKS, "deeplabv3plus", small)
    trainer = f"{name}_1epochs_2iterations"
    train(["901", configuration, "0", "-tr", trainer, "-device", "cpu"])
    model = tiny.results / NAME / f"{trainer}__nnUNetPlans__{configuration}"
    summary = json.loads((model / "fold_0" / "validation" / "summary.json").read_text())
    assert [Path(c["prediction_file"]).name for c in summary["metric_per_case"]] == ["t4.nii.gz"]
    output = tiny.results / "predictions"
    predict(
        [
            *("-i", str(tiny.raw / NAME / "imagesTs"), "-o", str(output), "-d", "901", "-c", configuration, "-f", "0"),
            *("-tr", trainer, "-device", "cpu", "-npp", "0", "-nps", "0"),
        ]
    )
    predicted = sitk.GetArrayFromImage(sitk.ReadImage(str(output / "t5.nii.gz")))
    assert predicted.shape == (6, 32, 32)
    assert set(np.unique(predicted)) <= {0, 1, 2}
