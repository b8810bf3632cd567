"""Trainers of paper 003's attention networks: which network, which recipe, and whole runs with small encoders."""

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

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.networks.slices import SliceWise
from nnunet_spine_ext.training.adamw import WarmUpPoly
from nnunet_spine_ext.training.auxiliary import AuxLoss
from nnunet_spine_ext.training.entry import predict, train
from nnunet_spine_ext.training.label_losses import DiceLoss
from tests.conftest import NnunetFolders
from tests.networks.shrink_attention import SHRINK
from tests.training.tiny import NAME, MakeTrainer, make_dataset_json, make_plans

FindTrainer = Callable[[str], Any]

HEAD = 512 * 20 + 20
"""One of DANet's three heads."""

# Network, weights for 20 classes on slices of 880 x 880, further outputs.
TRAINERS = {
    "SpineDANetTrainer": ("danet", 66_450_046, 2),
    "SpineDANetPaperTrainer": ("danet", 66_450_046 - 2 * HEAD, 0),
    "SpineEMANetTrainer": ("emanet", 53_643_220, 0),
    "SpineEMANetPaperTrainer": ("emanet", 53_772_116, 0),
    # At half the output stride's resolution, h' = 28 instead of 55: (2 · 28 - 1)² channels instead of (2 · 55 - 1)².
    "SpinePSANetTrainer": ("psanet", 78_272_468 - 2 * 512 * (109**2 - 55**2), 0),
    "SpinePSANetPaperTrainer": ("psanet", 78_272_468, 0),
    "SpineInfNetTrainer": ("infnet", 50_608_422, 4),
    # Without the edges' 3x3 convolution from 64 channels to one, and its norm.
    "SpineInfNetPaperTrainer": ("infnet", 50_608_422 - (9 * 64 + 2), 0),
    "SpineTransUNetTrainer": ("transunet", 107_445_076, 0),
    "SpineTransUNetPaperTrainer": ("transunet", 107_445_076, 0),
}
PAPERS = [name for name in TRAINERS if "Paper" in name]


@pytest.fixture(autouse=True)
def keep_threads() -> Iterator[None]:
    """Undo what nnU-Net's command does on a CPU: torch on all cores, for the rest of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_small(find_trainer: FindTrainer, make_trainer: MakeTrainer) -> MakeTrainer:
    """Make one of the trainers with a small network, for slices."""

    def make(name: str, **more: Any) -> Any:
        trainer = find_trainer(name)
        small = {key: value for key, value in SHRINK[TRAINERS[name][0]].items() if key != "aux"}
        trainer.network_options = MappingProxyType({**trainer.network_options, **small})
        return make_trainer(trainer, **{"configuration": "2d", **more})

    return make


def on_meta(trainer: Any, *, configuration: str) -> nn.Module:
    plans = make_plans()
    plans["configurations"]["2d"]["patch_size"] = [880, 880]
    manager = PlansManager(plans)
    with torch.device("meta"):
        network: nn.Module = trainer.build_network_architecture(
            manager, manager.get_configuration(configuration), 1, 20, False
        )
    return network


@pytest.mark.parametrize("name", TRAINERS)
def test_each_trainer_builds_its_network_for_the_plans_patch(find_trainer: FindTrainer, name: str) -> None:
    trainer = find_trainer(name)
    row, size, further = TRAINERS[name]
    assert trainer.network_name == row
    assert name in NETWORKS[row].trainers
    network: Any = on_meta(trainer, configuration="2d")
    assert sum(p.numel() for p in network.parameters()) == size
    assert len(network.aux) == further
    sliced = on_meta(trainer, configuration="3d_fullres")
    assert isinstance(sliced, SliceWise)
    assert getattr(sliced.network, "patch_size", (32, 32)) == (32, 32)


@pytest.mark.parametrize("name", TRAINERS)
def test_recipe_is_nnunets_or_the_papers(make_small: MakeTrainer, name: str) -> None:
    trainer = make_small(name)
    trainer.initialize()
    optimizer, rate = trainer.optimizer, trainer.optimizer.param_groups[0]["lr"]
    assert not trainer.enable_deep_supervision
    if name in PAPERS:
        assert isinstance(trainer.loss, DiceLoss)
        assert (type(optimizer), rate) == (torch.optim.Adam, 5e-4)
        return
    assert trainer.num_epochs == 1000
    if name == "SpineTransUNetTrainer":
        assert type(optimizer) is torch.optim.AdamW
        assert isinstance(trainer.lr_scheduler, WarmUpPoly)
        # The first of 50 epochs of warm-up.
        assert rate == pytest.approx(3e-4 / 50)
        assert optimizer.param_groups[0]["weight_decay"] == 0.05
    else:
        assert (type(optimizer), rate) == (torch.optim.SGD, 1e-2)


@pytest.mark.parametrize("name", TRAINERS)
def test_a_step_reaches_every_weight_that_is_not_frozen(make_small: MakeTrainer, name: str) -> None:
    torch.manual_seed(0)
    trainer = make_small(name)
    trainer.initialize()
    assert isinstance(trainer.loss, AuxLoss) == bool(trainer.network.aux)
    train_loader, validation_loader = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    assert np.isfinite(trainer.train_step(next(train_loader))["loss"])
    assert [k for k, p in trainer.network.named_parameters() if p.requires_grad and p.grad is None] == []
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert np.isfinite(trainer.validation_step(next(validation_loader))["loss"])


@pytest.mark.parametrize("name", ["SpineInfNetTrainer", "SpineInfNetPaperTrainer"])
def test_infnet_refuses_regions_of_which_none_is_background(make_small: MakeTrainer, name: str) -> None:
    regions = make_dataset_json(labels={"background": 0, "spine": [1, 2], "L5": [1]}, regions_class_order=[2, 1])
    with pytest.raises(SetupError, match=f"{name} looks where the background is likely, and of the 2 regions"):
        make_small(name, dataset=regions).initialize()
    one = make_dataset_json(labels={"background": 0, "spine": [1, 2]}, regions_class_order=[1])
    trainer = make_small(name, dataset=one)
    trainer.initialize()
    assert trainer.network.coarse.seg_layers.out_channels == 1


@pytest.mark.parametrize(
    ("name", "configuration"),
    [("SpineInfNetTrainer", "3d_fullres"), ("SpineTransUNetPaperTrainer", "2d")]
    + [
        pytest.param(name, "2d", marks=pytest.mark.slow)
        for name in TRAINERS
        if name not in ("SpineInfNetTrainer", "SpineTransUNetPaperTrainer")
    ],
)
def test_train_validate_and_predict(
    tiny: NnunetFolders, monkeypatch: pytest.MonkeyPatch, name: str, configuration: str
) -> None:
    # nnU-Net looks the trainer up again to predict; the row is what both have in common.
    row = TRAINERS[name][0]
    monkeypatch.setitem(NETWORKS, row, replace(NETWORKS[row], options=SHRINK[row]))
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
