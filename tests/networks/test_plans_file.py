"""Reading plans and dataset.json as nnU-Net writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from nnunet_spine_ext.errors import DataError, PlanError, SetupError
from nnunet_spine_ext.networks.plans_file import ancestry, previous_stage, read_planned_input, resolved_configuration
from tests.networks.tiny import SMALL

DOTTED = {
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "nonlin": "torch.nn.LeakyReLU",
}


CONFIGURATIONS = {
    "3d_lowres": {"spacing": [2, 2, 2]},
    "3d_fullres": {"spacing": [1, 1, 1], "batch_size": 2},
    "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    "narrow": {"inherits_from": "3d_cascade_fullres", "batch_size": 4},
    "alone": {"inherits_from": "narrow", "previous_stage": None},
    "orphan": {"inherits_from": "gone"},
    "hen": {"inherits_from": "egg"},
    "egg": {"inherits_from": "hen"},
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


def test_inheritance_is_nnunets() -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    for name in ("3d_lowres", "3d_fullres", "3d_cascade_fullres", "narrow", "alone"):
        manager = PlansManager({"configurations": CONFIGURATIONS})
        theirs = manager._internal_resolve_configuration_inheritance(name)
        assert resolved_configuration(CONFIGURATIONS, name, plans="P") == theirs
    assert ancestry(CONFIGURATIONS, "narrow", plans="P") == ["narrow", "3d_cascade_fullres", "3d_fullres"]


def test_inheritance_that_leads_nowhere_is_named() -> None:
    with pytest.raises(PlanError, match="P has no configuration 'gone', from which 'orphan' inherits; it has 3d_lowr"):
        resolved_configuration(CONFIGURATIONS, "orphan", plans="P")
    with pytest.raises(PlanError, match="P: configurations inherit in a circle: hen → egg → hen"):
        resolved_configuration(CONFIGURATIONS, "hen", plans="P")


@pytest.mark.parametrize(
    ("configuration", "before"),
    [("3d_fullres", None), ("3d_cascade_fullres", "3d_lowres"), ("narrow", "3d_lowres"), ("alone", None)],
)
def test_the_stage_before_may_be_inherited(tmp_path: Path, configuration: str, before: str | None) -> None:
    (tmp_path / "plans.json").write_text(json.dumps({"configurations": CONFIGURATIONS}))
    assert previous_stage(tmp_path / "plans.json", configuration) == before


def test_plans_that_were_cut_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path, labels={"background": 0, "spine": 1})
    (folder / "SomePlans.json").write_text('{"configurations": {')
    with pytest.raises(DataError, match=r"SomePlans\.json: is no JSON"):
        read_planned_input(folder, plans="SomePlans", configuration="3d_fullres")
