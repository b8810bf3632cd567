"""Which preprocessed data a plan may share."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_spine_ext.planning.sharing import is_preprocessed, share_preprocessed_data


def plans(name: str = "SpineHybridPlans") -> dict[str, Any]:
    configuration = {
        "data_identifier": f"{name}_3d_fullres",
        "spacing": (4.4, 0.3448, 0.3448),
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "preprocessor_name": "DefaultPreprocessor",
        "resampling_fn_data": "resample",
        "resampling_fn_seg": "resample",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1},
    }
    return {
        "plans_name": name,
        "transpose_forward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO",
        "foreground_intensity_properties_per_channel": {0: {"mean": 1.5}},
        "configurations": {"3d_fullres": configuration, "3d_cascade_fullres": {"inherits_from": "3d_fullres"}},
    }


def stock() -> dict[str, Any]:
    """What comes back from nnUNetPlans.json: lists for tuples, strings for keys."""
    written: dict[str, Any] = json.loads(json.dumps(plans("nnUNetPlans")))
    return written


def test_equal_preprocessing_is_shared() -> None:
    ours = plans()
    assert share_preprocessed_data(ours, stock()) == []
    assert ours["configurations"]["3d_fullres"]["data_identifier"] == "nnUNetPlans_3d_fullres"
    assert ours["configurations"]["3d_cascade_fullres"] == {"inherits_from": "3d_fullres"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("configurations", "3d_fullres", "spacing"), [4.4, 0.3448, 0.345]),
        (("configurations", "3d_fullres", "normalization_schemes"), ["CTNormalization"]),
        (("configurations", "3d_fullres", "use_mask_for_norm"), [True]),
        (("configurations", "3d_fullres", "resampling_fn_seg_kwargs"), {"is_seg": True, "order": 0}),
        (("transpose_forward",), [1, 0, 2]),
        (("foreground_intensity_properties_per_channel",), {"0": {"mean": 1.6}}),
    ],
)
def test_any_difference_is_named_and_gives_data_of_its_own(path: tuple[str, ...], value: object) -> None:
    ours, theirs = plans(), copy.deepcopy(stock())
    entry = theirs
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    (reason,) = share_preprocessed_data(ours, theirs)
    assert path[-1] in reason
    assert ours["configurations"]["3d_fullres"]["data_identifier"] == "SpineHybridPlans_3d_fullres"


def test_without_stock_plans_the_data_are_its_own() -> None:
    ours = plans()
    assert share_preprocessed_data(ours, None) == [
        "3d_fullres: preprocessed data of its own (there is no nnUNetPlans.json)"
    ]
    assert ours["configurations"]["3d_fullres"]["data_identifier"] == "SpineHybridPlans_3d_fullres"


def test_preprocessed_means_that_cases_are_there(tmp_path: Path) -> None:
    assert not is_preprocessed(tmp_path, "nnUNetPlans_2d")
    (tmp_path / "nnUNetPlans_2d").mkdir()
    assert not is_preprocessed(tmp_path, "nnUNetPlans_2d")
    (tmp_path / "nnUNetPlans_2d" / "case0.pkl").touch()
    assert is_preprocessed(tmp_path, "nnUNetPlans_2d")
