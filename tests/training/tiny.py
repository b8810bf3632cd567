"""A tiny dataset as nnU-Net leaves it after planning and preprocessing, written in a second.

Five volumes of 6 x 32 x 32 voxels hold a bright column of two or three structures; the plans are written by hand, the
cases are preprocessed by nnU-Net's own preprocessor, so everything that nnU-Net reads later is its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from tests.conftest import NnunetFolders

MakeTrainer = Callable[..., Any]
"""What the fixture `make_trainer` returns."""

NAME = "Dataset901_Tiny"
SPACING_XYZ_MM = (1.0, 1.0, 4.0)
LABELS: dict[str, Any] = {"background": 0, "L5": 1, "L4": 2}
ORDERED = {"source": "tiny", "scheme": "all", "ordered_labels": True, "cranio_caudal_axis_zyx": 1}


def architecture(dims: int, *, stages: int = 3, network: str | None = None) -> dict[str, Any]:
    """The architecture entry of a plan: nnU-Net's PlainConvUNet, narrow."""
    stride, first = ([1, 2, 2], [1, 1, 1]) if dims == 3 else ([2, 2], [1, 1])
    kernel, first_kernel = ([3, 3, 3], [1, 3, 3]) if dims == 3 else ([3, 3], [3, 3])
    return {
        "network_class_name": network or "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [4 * 2**i for i in range(stages)],
            "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
            "kernel_sizes": [first_kernel, *[kernel] * (stages - 1)],
            "strides": [first, *[stride] * (stages - 1)],
            "n_conv_per_stage": [1] * stages,
            "n_conv_per_stage_decoder": [1] * (stages - 1),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def configuration(dims: int, *, plans_name: str, stages: int = 3) -> dict[str, Any]:
    """One configuration of a plan, with nnU-Net's own preprocessing."""
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    name = "3d_fullres" if dims == 3 else "2d"
    return {
        "data_identifier": f"{plans_name}_{name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [4, 32, 32] if dims == 3 else [32, 32],
        "median_image_size_in_voxels": [6.0, 32.0, 32.0][3 - dims :],
        "spacing": list(SPACING_XYZ_MM[::-1])[3 - dims :],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
        "batch_dice": False,
        "architecture": architecture(dims, stages=stages),
    }


def make_plans(*, plans_name: str = "nnUNetPlans", stages: int = 3) -> dict[str, Any]:
    """A whole plans file with a 2d and a 3d_fullres configuration."""
    statistics = {"max": 1.0, "mean": 0.5, "median": 0.5, "min": 0.0, "percentile_00_5": 0.0, "percentile_99_5": 1.0}
    return {
        "dataset_name": NAME,
        "plans_name": plans_name,
        "original_median_spacing_after_transp": list(SPACING_XYZ_MM[::-1]),
        "original_median_shape_after_transp": [6, 32, 32],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "2d": configuration(2, plans_name=plans_name, stages=stages),
            "3d_fullres": configuration(3, plans_name=plans_name, stages=stages),
        },
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {**statistics, "std": 0.2}},
    }


def make_dataset_json(*, labels: Mapping[str, Any] | None = None, **more: object) -> dict[str, Any]:
    return {
        "channel_names": {"0": "MR"},
        "labels": dict(labels or LABELS),
        "numTraining": 5,
        "file_ending": ".nii.gz",
        **more,
    }


def volume(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels (z y x): a column along y, its lower half structure 1, its upper half structure 2."""
    random = np.random.default_rng(seed)
    labels = np.zeros((6, 32, 32), dtype=np.uint8)
    x = 10 + seed
    labels[1:5, 4:14, x : x + 8] = 2
    labels[1:5, 16:28, x : x + 8] = 1
    image = random.normal(0.1, 0.05, labels.shape) + 0.6 * (labels > 0) + 0.2 * (labels == 2)
    return image.astype(np.float32), labels


def write_volume(array: np.ndarray, path: Path) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_XYZ_MM)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def write_tiny_dataset(
    folders: NnunetFolders,
    *,
    dataset: Mapping[str, Any] | None = None,
    plans: Mapping[str, Any] | None = None,
    configurations: tuple[str, ...] = ("3d_fullres",),
) -> Path:
    """Write raw images, plans, preprocessed cases and a split of 4 + 1; return the preprocessed folder."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    facts, plan = dict(dataset or make_dataset_json()), deepcopy(dict(plans or make_plans()))
    raw, done = folders.raw / NAME, folders.preprocessed / NAME
    done.mkdir()
    raw.mkdir()
    for folder, name, content in (
        (raw, "dataset.json", facts),
        (done, "dataset.json", facts),
        (done, f"{plan['plans_name']}.json", plan),
        (done, "dataset_fingerprint.json", {}),
        (done, "splits_final.json", [{"train": ["t0", "t1", "t2", "t3"], "val": ["t4"]}]),
    ):
        (folder / name).write_text(json.dumps(content))
    manager = PlansManager(plan)
    for i in range(5):
        image, labels = volume(i)
        write_volume(image, raw / "imagesTr" / f"t{i}_0000.nii.gz")
        write_volume(labels, raw / "labelsTr" / f"t{i}.nii.gz")
        write_volume(labels, done / "gt_segmentations" / f"t{i}.nii.gz")
        for name in configurations:
            chosen = manager.get_configuration(name)
            target = done / chosen.data_identifier
            target.mkdir(exist_ok=True)
            DefaultPreprocessor(verbose=False).run_case_save(
                str(target / f"t{i}"),
                [str(raw / "imagesTr" / f"t{i}_0000.nii.gz")],
                str(raw / "labelsTr" / f"t{i}.nii.gz"),
                manager,
                chosen,
                facts,
            )
    write_volume(volume(5)[0], raw / "imagesTs" / "t5_0000.nii.gz")
    return done


def log_of(trainer: Any) -> str:
    """Everything that a trainer has logged."""
    return Path(trainer.log_file).read_text()
