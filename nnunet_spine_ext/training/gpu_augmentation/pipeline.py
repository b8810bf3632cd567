"""nnU-Net's pipeline of transforms, step by step the same, but for a whole batch on one device.

Every transform draws its own parameters, on the CPU, as if for one window: the distribution is the library's, whatever
its release draws. Only what is then done to the voxels is ours, and a table says for which transforms.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform

from nnunet_spine_ext.training.augmentation import AxisFlips
from nnunet_spine_ext.training.gpu_augmentation import intensity, labels, spatial
from nnunet_spine_ext.training.gpu_augmentation.windows import Drawn, Windows

Apply = Callable[[Windows, Drawn, Any], None]

FORMS: Mapping[type[BasicTransform], Apply] = {
    Convert3DTo2DTransform: spatial.fold_slices,
    SpatialTransform: spatial.resample,
    Convert2DTo3DTransform: spatial.unfold_slices,
    GaussianNoiseTransform: intensity.add_noise,
    GaussianBlurTransform: intensity.blur,
    MultiplicativeBrightnessTransform: intensity.scale_brightness,
    ContrastTransform: intensity.scale_contrast,
    SimulateLowResolutionTransform: intensity.lower_resolution,
    GammaTransform: intensity.correct_gamma,
    MirrorTransform: spatial.mirror,
    AxisFlips: spatial.mirror,
    MaskImageTransform: labels.mask_image,
    RemoveLabelTransform: labels.replace_label,
    ConvertSegmentationToRegionsTransform: labels.to_regions,
    DownsampleSegForDSTransform: labels.to_scales,
}
"""What each transform does to a batch. By exact class: a class derived from one of these may do something else."""


class NoBatchFormError(Exception):
    """A transform cannot be applied to a batch; the text names it and says why."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One transform of the pipeline."""

    transform: BasicTransform
    """Of the library."""
    source: BasicTransform
    """It draws the parameters of one window."""
    chance: RandomTransform | None
    """It draws whether a window is changed at all; None = every window is."""
    apply: Apply

    def draw(self, windows: Windows) -> Drawn:
        """Draw for every window of the batch, by the shape of the windows alone."""
        # One number that looks like a window: no transform with a form here draws by the voxels.
        stand_in = torch.empty(1).expand(windows.image.shape[1:])
        facts = {"image": stand_in}
        return {
            window: self.source.get_parameters(**facts)
            for window in range(len(windows.image))
            if self.chance is None or self.chance.get_parameters(**facts)["apply_transform"]
        }


class BatchPipeline:
    """A pipeline of nnU-Net's for one window, made to work on a batch.

    Args:
        pipeline: as `get_training_transforms` returns it.

    Raises:
        NoBatchFormError: a transform has no form in `FORMS`.
    """

    def __init__(self, pipeline: BasicTransform) -> None:
        self.steps = [_step(transform) for transform in _flat(pipeline)]

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
        """Return an augmented batch on a device.

        Args:
            batch: of nnU-Net's loader without transforms: `data` (B, C, *S), `target` (B, G, *S); it is not changed.
            device: where to work.

        Returns:
            `data` (B, C, *P), and `target`, a tensor or, with deep supervision, a list, as the pipeline makes them.
        """
        windows = Windows(
            image=batch["data"].to(device, non_blocking=True, copy=True),
            labels=batch["target"].to(device, non_blocking=True, copy=True),
        )
        for step in self.steps:
            step.apply(windows, step.draw(windows), step.transform)
        return {
            **batch,
            "data": windows.image,
            "target": windows.labels if windows.targets is None else windows.targets,
        }


def _flat(pipeline: BasicTransform) -> Iterator[BasicTransform]:
    if type(pipeline) is ComposeTransforms:
        for transform in pipeline.transforms:
            yield from _flat(transform)
    else:
        yield pipeline


def _step(transform: BasicTransform) -> Step:
    chance = transform if type(transform) is RandomTransform else None
    inner = transform.transform if chance is not None else transform
    name = type(inner).__name__
    if type(inner) not in FORMS:
        raise NoBatchFormError(f"{name} has no form for a batch")
    if isinstance(inner, SpatialTransform):
        reason = spatial.why_not(inner)
        if reason is not None:
            raise NoBatchFormError(f"{name} with {reason} has no form for a batch")
    return Step(transform=inner, source=_drawing(inner), chance=chance, apply=FORMS[type(inner)])


def _drawing(transform: BasicTransform) -> BasicTransform:
    """Return a transform that draws the same, without the work that some do on the way."""
    if not isinstance(transform, SpatialTransform):
        return transform
    # With its parameters comes the grid of all voxels of the patch; the matrix is what we need.
    small = copy.copy(transform)
    small.patch_size, small._grid_cache = (1,) * len(transform.patch_size), {}
    return small
