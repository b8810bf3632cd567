"""A dataset as far as planning looks at it: dataset.json, a fingerprint, and one tiny image for the file format."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import SimpleITK as sitk

from tests.conftest import NnunetFolders

LABELS = {"background": 0, **{f"structure{i}": i for i in range(1, 20)}}


def write_dataset(
    folders: NnunetFolders,
    *,
    dataset_id: int = 501,
    shape: tuple[int, ...] = (12, 880, 880),
    spacing_mm: tuple[float, ...] = (4.4, 0.3448, 0.3448),
    cases: int = 172,
    labels: dict[str, Any] | None = None,
    regions_class_order: list[int] | None = None,
) -> Path:
    """Write raw and fingerprint; return the preprocessed folder."""
    name = f"Dataset{dataset_id:03d}_Synthetic"
    raw, preprocessed = folders.raw / name, folders.preprocessed / name
    for sub in ("imagesTr", "labelsTr"):
        (raw / sub).mkdir(parents=True)
    preprocessed.mkdir()
    image = sitk.GetImageFromArray(np.zeros((2, 4, 4), np.float32))
    sitk.WriteImage(image, str(raw / "imagesTr" / "case0_0000.nii.gz"))
    sitk.WriteImage(sitk.Cast(image, sitk.sitkUInt8), str(raw / "labelsTr" / "case0.nii.gz"))
    dataset: dict[str, Any] = {
        "channel_names": {"0": "MRI"},
        "labels": labels or LABELS,
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    if regions_class_order is not None:
        dataset["regions_class_order"] = regions_class_order
    (raw / "dataset.json").write_text(json.dumps(dataset))
    intensity = dict.fromkeys(("mean", "median", "std", "min", "max", "percentile_99_5", "percentile_00_5"), 1.0)
    fingerprint = {
        "spacings": [spacing_mm] * cases,
        "shapes_after_crop": [shape] * cases,
        "foreground_intensity_properties_per_channel": {"0": intensity},
        "median_relative_size_after_cropping": 1.0,
    }
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return preprocessed


def write_stock_plans(dataset_id: int = 501) -> None:
    """Let nnU-Net's own command write nnUNetPlans.json."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset

    with mock.patch.dict(os.environ, {"nnUNet_n_proc_DA": "1"}):  # nnU-Net's planner wants at least one thread
        plan_experiment_dataset(dataset_id)
