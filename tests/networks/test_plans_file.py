"""Reading plans and dataset.json as nnU-Net writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from nnunet_spine_ext.errors import PlanError, SetupError
from nnunet_spine_ext.networks.plans_file import read_planned_input
from tests.networks.tiny import SMALL

DOTTED = {
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "nonlin": "torch.nn.LeakyReLU",
}


def write(folder: Path, *, labels: dict[str, Any], **changed: Any) -> Path:
    architecture = {
        "network_class_name": "nnunet_spine_ext.networks.hybrid.SpineHybrid",
        "arch_kwargs": {**SMALL.words(**DOTTED), "options": {"link_block": "res"}, **changed},
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configurations = {
        "3d_fullres": {"patch_size": [5, 16, 16], "architecture": architecture},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    }
    (folder / "SomePlans.json").write_text(json.dumps({"configurations": configurations}))
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T2", "1": "T1"}, "labels": labels}))
    return folder


@pytest.mark.parametrize("configuration", ["3d_fullres", "3d_cascade_fullres"])
def test_reads_what_a_network_is_built_from(tmp_path: Path, configuration: str) -> None:
    folder = write(tmp_path, labels={"background": 0, "L1": 1, "L2": 2})
    planned = read_planned_input(folder, plans="SomePlans", configuration=configuration)
    assert planned.patch_size == (5, 16, 16)
    assert planned.input_channels == 2
    assert planned.num_classes == 3
    assert planned.architecture == SMALL.words()
    assert planned.architecture["conv_op"] is nn.Conv3d


@pytest.mark.parametrize(
    ("labels", "logits"),
    [
        ({"background": 0, "spine": 1, "ignore": 2}, 2),
        ({"background": 0, "spine": [1, 2], "disc": [2]}, 2),
        ({"background": 0, "spine": [1, 2], "disc": 2, "ignore": 3}, 2),
    ],
    ids=["ignore", "regions", "regions and ignore"],
)
def test_counts_logits_as_nnunet_does(tmp_path: Path, labels: dict[str, Any], logits: int) -> None:
    planned = read_planned_input(write(tmp_path, labels=labels), plans="SomePlans", configuration="3d_fullres")
    assert planned.num_classes == logits


def test_missing_files_and_configurations_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path, labels={"background": 0, "spine": 1})
    with pytest.raises(SetupError, match=r"OtherPlans\.json does not exist"):
        read_planned_input(folder, plans="OtherPlans", configuration="3d_fullres")
    with pytest.raises(PlanError, match="no configuration '2d'; it has 3d_fullres"):
        read_planned_input(folder, plans="SomePlans", configuration="2d")


def test_class_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, labels={"background": 0, "spine": 1}, nonlin="torch.nn.NoSuchThing")
    with pytest.raises(PlanError, match=r"nonlin is 'torch\.nn\.NoSuchThing'"):
        read_planned_input(folder, plans="SomePlans", configuration="3d_fullres")
