"""Augmentations that papers used and nnU-Net does not have. Picklable: nnU-Net sends them to its workers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform


class AxisFlips(MirrorTransform):
    """Mirror image and labels along each axis independently.

    Args:
        axes: spatial axes that may be mirrored (0 = the first after the channels).
        probability: of mirroring, for each axis; nnU-Net's own transform has 0.5.
    """

    def __init__(self, axes: Sequence[int], *, probability: float) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be in [0, 1], got {probability}")
        super().__init__(tuple(axes))
        self.probability = probability

    def get_parameters(self, **_data: object) -> dict[str, list[int]]:
        """Draw the axes to mirror for one sample."""
        drawn = torch.rand(len(self.allowed_axes)) < self.probability
        return {"axes": [axis for axis, flip in zip(self.allowed_axes, drawn.tolist(), strict=True) if flip]}


def flips_only(
    validation_transforms: BasicTransform,
    *,
    axes: Sequence[int],
    probability: float,
    masked_channels: Sequence[bool],
) -> BasicTransform:
    """Return training transforms whose only augmentation is mirroring.

    Args:
        validation_transforms: nnU-Net's own: what has to be done to labels and cascade inputs in any case.
        axes: that may be mirrored.
        probability: of mirroring, for each axis.
        masked_channels: image channels that are zero outside the non-zero mask (nnU-Net's `use_mask_for_norm`).
    """
    masked = [i for i, mask in enumerate(masked_channels) if mask]
    # As in nnU-Net's own pipeline, the mask must be applied while the labels still say -1 outside of it.
    mask = [MaskImageTransform(apply_to_channels=masked, channel_idx_in_seg=0, set_outside_to=0)] if masked else []
    return ComposeTransforms([AxisFlips(axes, probability=probability), *mask, validation_transforms])
