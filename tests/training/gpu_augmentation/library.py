"""batchgeneratorsv2's own transforms as the reference: one window after another, with parameters that were recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import Tensor

from nnunet_spine_ext.training.gpu_augmentation.pipeline import BatchPipeline, Step
from nnunet_spine_ext.training.gpu_augmentation.windows import Drawn, Windows

Batch = dict[str, Any]
CPU = torch.device("cpu")


def seed(number: int) -> None:
    np.random.seed(number)
    torch.manual_seed(number)


def batch_of(*shape: int, windows: int, channels: int = 2, labels: int = 4, seed_of: int = 0) -> Batch:
    """Smooth-edged boxes of labels in noise, some of it outside the image (-1)."""
    generator = torch.Generator().manual_seed(seed_of)
    image = torch.rand((windows, channels, *shape), generator=generator) * 3 - 1
    coarse = [max(1, length // 4) for length in shape]
    small = torch.randint(0, labels, (windows, 1, *coarse), generator=generator).float()
    target = torch.nn.functional.interpolate(small, shape, mode="nearest").to(torch.int16)
    target[:, :, -1] = -1
    return {"data": image, "target": target, "keys": [f"case{i}" for i in range(windows)]}


class Recorder:
    """Records what each step of a pipeline draws; `replay` lets the library do the same to each window."""

    def __init__(self, pipeline: BatchPipeline) -> None:
        self.drawn: list[tuple[Step, Drawn]] = []
        self.pipeline = pipeline

    def run(self, batch: Batch) -> Batch:
        windows = Windows(image=batch["data"].clone(), labels=batch["target"].clone())
        for step in self.pipeline.steps:
            drawn = step.draw(windows)
            self.drawn.append((step, drawn))
            step.apply(windows, drawn, step.transform)
        return {"data": windows.image, "target": windows.targets or windows.labels}

    def replay(self, batch: Batch) -> list[dict[str, Any]]:
        """What the library makes of each window, with these parameters."""
        results = []
        for index in range(len(batch["data"])):
            window = {"image": batch["data"][index].clone(), "segmentation": batch["target"][index].clone()}
            for step, drawn in self.drawn:
                if index in drawn:
                    window = apply(step.transform, window, dict(drawn[index]))
            results.append(window)
        return results


def apply(transform: BasicTransform, window: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    if "affine" in parameters:
        parameters["grid"] = grid_of(transform, parameters["affine"], window["image"].shape[1:])
    if "nchannels_img" in window:
        parameters |= {name: window[name] for name in window if name.startswith("nchannels")}
    result: dict[str, Any] = transform.apply(window, **parameters)
    return result


def grid_of(transform: Any, affine: np.ndarray | None, shape: tuple[int, ...]) -> Tensor | None:
    """The grid by the definition: voxels of the patch around its middle, turned, as shares of the window's halves."""
    if affine is None:
        return None
    axes = [torch.arange(length) - (length - 1) / 2 for length in transform.patch_size]
    voxels = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    turned = torch.einsum("ij,...j->...i", torch.from_numpy(affine).float(), voxels)
    return (turned / (torch.tensor(shape) / 2)).flip(-1)
