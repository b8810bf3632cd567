"""Training windows of the very patch size, with no augmentation but what a recipe adds; no mirroring in prediction.

nnU-Net cuts larger windows, to rotate them, and mirrors them in training and prediction. Papers with less, or other,
augmentation derive from `PlainWindows` and name theirs in the hook `augmentations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnunet_spine_ext.training.own_augmentation import OwnAugmentation

THICK_SLICE_RATIO = 3.0
"""An axis whose voxels are more than this times longer than the shortest is across thick slices (nnU-Net's rule)."""


class PlainWindows(OwnAugmentation):
    """A trainer whose windows are cut from the image as they are."""

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, tuple[int, ...]]:
        """Return no rotation, windows of the patch size, and no mirroring, in prediction as well."""
        self.inference_allowed_mirroring_axes = None
        self.print_to_log_file("Mirroring: none, in training and prediction (the paper has none).")
        return (0.0, 0.0), False, list(self.configuration_manager.patch_size), ()


def thick_slice_plane(spacing_mm: Sequence[float], *, dims: int) -> tuple[int, ...]:
    """Return the spatial axes of a slice; all axes, where no axis has much longer voxels than the others.

    Args:
        spacing_mm: of the plan; a 2D plan with a patch of several slices has none for the first axis of its patch.
        dims: axes of the patch.
    """
    known = range(dims - len(spacing_mm), dims)
    limit = THICK_SLICE_RATIO * min(spacing_mm)
    return tuple(axis for axis, length_mm in zip(known, spacing_mm, strict=True) if length_mm <= limit)
