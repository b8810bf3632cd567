"""The recipe of paper 002: cross-entropy, Adam, rotation, flips and elastic deformation within the slice.

Source: paper 002 (Z. Li, MSc dissertation, Cardiff, 2021), sections 3.1, 3.2, 3.6 and 4: binary cross-entropy on logits
for one structure in single CT slices, Adam, batch 16 (15 for version 3), 100 epochs (10 for version 5). What it leaves
open, and what is done:

| open | here |
|---|---|
| learning rate | 1e-4, constant: that of the public tutorial whose network and loop the dissertation uses |
| several classes | cross-entropy over them; with regions, binary cross-entropy for each |
| probability of each transformation | 0.5, the default of the library that it names (albumentations) |
| angles; strength of the deformation | nnU-Net's angles; up to 3 % of the slice's shorter edge, over 5 to 20 % of it |

Every image was written ten times before the training, each time transformed at random; here it is transformed at
random each time it is read: the same, with new draws. Its "Resize" brings all images to one size; nnU-Net resamples to
one spacing instead. An epoch is nnU-Net's (250 steps); the paper's is one pass over its images. `augments = False` is
version 1, which differs from version 2 in nothing else.

What stays nnU-Net's: intensity normalisation and spacing (of the plan), folds, gradient clipping, mixed precision, the
sliding window and its mirroring in prediction; and no flip runs along the spine where labels are ordered along it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform

from nnunet_spine_ext.networks.unet_options import UNetOptions
from nnunet_spine_ext.networks.unet_papers import paper_words
from nnunet_spine_ext.training.augmentation import AxisFlips
from nnunet_spine_ext.training.label_losses import CrossEntropyLoss
from nnunet_spine_ext.training.own_augmentation import OwnAugmentation
from nnunet_spine_ext.training.paper_recipe import PLAIN_RECIPE, PaperRecipe

PROBABILITY = 0.5
"""Of rotation, of elastic deformation, and of a flip along each axis of the slice, independently."""
WAVE = (0.05, 0.2)
"""Range of the deformation's coarseness, as a share of the slice's edge."""
MAX_SHIFT = 0.03
"""Greatest displacement, as a share of the slice's shorter edge."""


def slice_deformations(patch_size: Sequence[int], *, rotation: tuple[float, float]) -> list[BasicTransform]:
    """Return rotation and elastic deformation within the slice, and the cut to the patch size.

    Args:
        patch_size: in voxels, slices first if there are three axes; they are all deformed alike.
        rotation: range of angles in radians.
    """
    plane = tuple(int(n) for n in patch_size[-2:])
    deform = SpatialTransform(
        plane,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=PROBABILITY,
        elastic_deform_scale=WAVE,
        elastic_deform_magnitude=(0.0, MAX_SHIFT * min(plane)),
        p_rotation=PROBABILITY,
        rotation=rotation,
        border_mode_seg="constant",
        padding_value_seg=-1,
    )
    return [deform] if len(patch_size) == 2 else [Convert3DTo2DTransform(), deform, Convert2DTo3DTransform()]


class Paper002Recipe(PaperRecipe, OwnAugmentation):
    """Paper 002's training on the paper's own form of a network: `network_options` name its widths."""

    paper = "002"
    structures = 1
    recipe = replace(PLAIN_RECIPE, epochs=100, learning_rate=1e-4)
    plan_configuration = "2d"
    plan_batch_size = 16
    augments: ClassVar[bool] = True
    """Whether windows are rotated, flipped and deformed; the paper's version 1 has none of it."""

    @classmethod
    def architecture_words(cls, configuration_manager: Any) -> dict[str, Any]:  # noqa: ANN401, ARG003
        """Return the paper's own stages and widths on any plan, in 2D; the plan gives window and batch."""
        return paper_words(UNetOptions.of(cls.network_options))

    def build_loss(self) -> CrossEntropyLoss:
        """Return cross-entropy, binary for each region with regions."""
        return CrossEntropyLoss(regions=self.label_manager.has_regions, ignore_label=self.label_manager.ignore_label)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, tuple[int, ...]]:
        """Return nnU-Net's angles and margin, both within the slice, and flips along the axes of the slice alone."""
        rotation, _, size, axes = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        patch = list(self.configuration_manager.patch_size)
        across = len(patch) == 3
        flipped = tuple(axis for axis in axes if not (across and axis == 0)) if self.augments else ()
        self.inference_allowed_mirroring_axes = flipped or None
        if not self.augments:
            return (0.0, 0.0), False, patch, ()
        return rotation, across, [patch[0], *size[1:]] if across else size, flipped

    def augmentations(self, *, rotation: tuple[float, float], mirror_axes: Sequence[int]) -> list[BasicTransform]:
        """Return rotation, elastic deformation and flips."""
        patch_size = self.configuration_manager.patch_size
        deformations = slice_deformations(patch_size, rotation=rotation) if self.augments else []
        return [*deformations, AxisFlips(mirror_axes, probability=PROBABILITY)]
