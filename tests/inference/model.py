"""A model folder as nnU-Net leaves it after training, without the training, and images whose spacing is another."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from tests.conftest import NnunetFolders
from tests.training.tiny import NAME, make_dataset_json, make_plans

CASCADE = "3d_cascade_fullres"
CONFIGURATIONS = ("2d", "3d_fullres", CASCADE)


def write_model(folders: NnunetFolders, configuration: str, **dataset: Any) -> Path:
    """Write plans.json, dataset.json and two folds of random weights; return the model's folder."""
    plans, facts = deepcopy(make_plans()), make_dataset_json(**dataset)
    plans["configurations"][CASCADE] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    folder = folders.results / NAME / f"nnUNetTrainer__nnUNetPlans__{configuration}"
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(facts))
    (folders.raw / NAME).mkdir(exist_ok=True)  # where nnU-Net looks up the name of a dataset
    for fold in (0, 1):
        (folder / f"fold_{fold}").mkdir()
        torch.save(_checkpoint(plans, facts, configuration, fold), folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def _checkpoint(plans: dict[str, Any], facts: dict[str, Any], configuration: str, seed: int) -> dict[str, Any]:
    manager = PlansManager(deepcopy(plans))
    chosen = manager.get_configuration(configuration)
    channels = determine_num_input_channels(manager, chosen, facts)
    heads = manager.get_label_manager(facts).num_segmentation_heads
    torch.manual_seed(seed)
    network = nnUNetTrainer.build_network_architecture(manager, chosen, channels, heads, enable_deep_supervision=False)
    return {
        "network_weights": network.state_dict(),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": configuration},
        "inference_allowed_mirroring_axes": (0, 1),
    }


def write_images(folder: Path, *, cases: int = 3) -> Path:
    """Write images of different sizes with an empty border and voxels finer than the plan's."""
    folder.mkdir()
    for case in range(cases):
        random = np.random.default_rng(case)
        array = np.zeros((5 + case, 38, 36), dtype=np.float32)
        array[:, 2:-1, 3:] = random.normal(1, 0.3, (5 + case, 35, 33))
        _write(array, folder / f"case{case}_0000.nii.gz")
    return folder


def write_previous_stage(folder: Path, images: Path) -> Path:
    """Write random label maps for `images`, as the stage before a cascade leaves them."""
    folder.mkdir()
    for path in sorted(images.iterdir()):
        shape = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).shape
        labels = np.random.default_rng(1).integers(0, 3, shape).astype(np.uint8)
        _write(labels, folder / path.name.replace("_0000", ""))
    return folder


def _write(array: np.ndarray, path: Path) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 0.85, 4.0))
    image.SetOrigin((-5.0, 3.0, 70.0))
    sitk.WriteImage(image, str(path))
