"""The end of nnU-Net's pipeline: the mask of the image, the label outside, regions, and targets at several scales."""

from __future__ import annotations

import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from torch.nn.functional import interpolate

from nnunet_spine_ext.training.gpu_augmentation.windows import Drawn, Windows


def mask_image(windows: Windows, drawn: Drawn, transform: MaskImageTransform) -> None:  # noqa: ARG001
    """Set channels to a number where the labels say outside (below 0)."""
    outside = windows.labels[:, transform.channel_idx_in_seg] < 0
    for channel in transform.apply_to_channels:
        windows.image[:, channel].masked_fill_(outside, transform.set_outside_to)


def replace_label(windows: Windows, drawn: Drawn, transform: RemoveLabelTransform) -> None:  # noqa: ARG001
    """Write one label in place of another, in all maps or in those that the transform names."""
    chosen = transform.segmentation_channels
    for channel in range(windows.labels.shape[1]) if chosen is None else chosen:
        labels = windows.labels[:, channel]
        labels.masked_fill_(labels == transform.label_value, transform.set_to)


def to_regions(windows: Windows, drawn: Drawn, transform: ConvertSegmentationToRegionsTransform) -> None:  # noqa: ARG001
    """Make truth values (B, R, *S) of R regions, each one or several labels."""
    labels = windows.labels[:, transform.channel_in_seg]
    windows.labels = torch.stack([torch.isin(labels, region.to(labels)) for region in transform.regions], 1)


def to_scales(windows: Windows, drawn: Drawn, transform: DownsampleSegForDSTransform) -> None:  # noqa: ARG001
    """Make a target for each output of the network, by the nearest voxel."""
    labels = windows.labels
    shape = labels.shape[2:]
    windows.targets = []
    for scale in transform.ds_scales:
        scales = scale if isinstance(scale, (tuple, list)) else [scale] * len(shape)
        smaller = [round(length * x) for length, x in zip(shape, scales, strict=True)]
        same = all(x == 1 for x in scales)
        windows.targets.append(
            labels if same else interpolate(labels.float(), smaller, mode="nearest-exact").to(labels.dtype)
        )
