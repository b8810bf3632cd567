"""Augmentations that papers used and nnU-Net does not have. Picklable: nnU-Net sends them to its workers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform


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
