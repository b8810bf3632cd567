"""Preprocessed data of the stock plan: which configurations of a new plan can use it as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

STOCK_PLANS_NAME = "nnUNetPlans"

PREPROCESSING_KEYS = (
    "spacing", "normalization_schemes", "use_mask_for_norm", "preprocessor_name",
    "resampling_fn_data", "resampling_fn_seg", "resampling_fn_data_kwargs", "resampling_fn_seg_kwargs",
)  # fmt: skip
"""What decides the preprocessed voxels, in a configuration."""

SHARED_KEYS = ("transpose_forward", "foreground_intensity_properties_per_channel", "image_reader_writer")
"""What decides them, in the plans as a whole."""


def share_preprocessed_data(plans: dict[str, Any], stock: Mapping[str, Any] | None) -> list[str]:
    """Give each configuration the stock plan's `data_identifier` where both preprocess alike, else one of its own.

    Returns:
        A sentence for each configuration that differs from the stock plan, naming what differs.
    """
    reasons = []
    for name, configuration in plans["configurations"].items():
        if "inherits_from" in configuration:
            continue
        differences = _differences(plans, configuration, stock, stock_name=name)
        if not differences and stock is not None:
            configuration["data_identifier"] = stock["configurations"][name]["data_identifier"]
            continue
        configuration["data_identifier"] = f"{plans['plans_name']}_{name}"
        reasons.append(f"{name}: preprocessed data of its own ({', '.join(differences)})")
    return reasons


def _differences(
    plans: Mapping[str, Any], configuration: Mapping[str, Any], stock: Mapping[str, Any] | None, *, stock_name: str
) -> list[str]:
    if stock is None:
        return [f"there is no {STOCK_PLANS_NAME}.json"]
    theirs = stock["configurations"].get(stock_name)
    if theirs is None:
        return [f"{STOCK_PLANS_NAME} has no {stock_name}"]
    differing = [key for key in SHARED_KEYS if not _alike(plans.get(key), stock.get(key))]
    return differing + [key for key in PREPROCESSING_KEYS if not _alike(configuration.get(key), theirs.get(key))]


def _alike(ours: Any, theirs: Any) -> bool:  # noqa: ANN401  (any JSON value)
    # The stock plan went through a file: tuples became lists, keys became strings.
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        left, right = ({str(k): v for k, v in side.items()} for side in (ours, theirs))
        return left.keys() == right.keys() and all(_alike(left[k], right[k]) for k in left)
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(_alike, ours, theirs))
    if isinstance(ours, float) or isinstance(theirs, float):
        return bool(abs(ours - theirs) <= 1e-6 * max(abs(ours), abs(theirs)))
    return bool(ours == theirs)


def is_preprocessed(folder: Path, identifier: str) -> bool:
    """Return whether nnU-Net's preprocessed `folder` of a dataset holds cases under this data identifier."""
    cases = folder / identifier
    return cases.is_dir() and any(cases.glob("*.pkl"))
