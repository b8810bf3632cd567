"""The phantom and the model of benchmarks/inference.py."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from nnunet_spine_ext.data.phantom import write_phantom

CLASSES = 20
DATASET = "Dataset990_Inference"
RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How the plan's voxels differ from the image's."""

    name: str
    in_plane: float
    across: float


def write_case(scratch: Path, *, size: int, slices: int) -> Path:
    """Render a spine; return the folder of images."""
    write_phantom(scratch / "phantom", cases=1, test_cases=0, size=size, slices=slices, processes=1)
    images = scratch / "imagesTs"
    images.mkdir(exist_ok=True)
    (source,) = (scratch / "phantom/train/MR").iterdir()
    shutil.copyfile(source, images / "case1_0000.nii.gz")
    return images


def write_model(results: Path, images: Path, setting: Setting, *, patch: Sequence[int]) -> None:
    """Write a model folder with random weights."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    x, y, z = sitk.ReadImage(str(images / "case1_0000.nii.gz")).GetSpacing()
    plans = make_plans((z * setting.across, y * setting.in_plane, x * setting.in_plane), patch)
    labels = {"background": 0, **{f"structure{i}": i for i in range(1, CLASSES)}}
    facts = {"channel_names": {"0": "MR"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    folder = results / DATASET / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(facts))
    manager = PlansManager(plans)
    chosen = manager.get_configuration("3d_fullres")
    torch.manual_seed(0)
    network = nnUNetTrainer.build_network_architecture(manager, chosen, 1, CLASSES, enable_deep_supervision=False)
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


def make_plans(spacing: Sequence[float], patch: Sequence[int]) -> dict[str, Any]:
    """Return nnU-Net's plans of a narrow network, with its default resampling."""
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 8, 16],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[1, 3, 3]] * 3,
            "strides": [[1, 1, 1], [1, 2, 2], [1, 2, 2]],
            "n_conv_per_stage": [1] * 3,
            "n_conv_per_stage_decoder": [1] * 2,
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
    }
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "spacing": list(spacing),
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": RESAMPLING,
        "resampling_fn_seg_kwargs": {**RESAMPLING, "is_seg": True, "order": 1},
        "resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1},
        "architecture": architecture,
    }
    return {
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
    }
