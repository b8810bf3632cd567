"""The recipe of paper 003: Dice loss, Adam, and four artefacts of MRI as the only augmentation.

Source: paper 003 (twelve networks on MRSpineSeg), sections 4.1, 4.2 and 4.4. What it leaves open, and what is done:

| open | here |
|---|---|
| epochs ("converged at about 40 epochs", others "100 to 120") | 100 |
| batch size | the plan's |
| classes in the mean Dice | all, the background too: the paper counts it among its 20 labels |
| schedule, weight decay | none |
| probability of each artefact | 0.25: a third of the windows stay as they are |
| strength of the artefacts | TorchIO's documented defaults, the library that the paper used |

What stays nnU-Net's: intensity normalisation and spacing (of the plan), folds, gradient clipping, mixed precision, the
length of an epoch, the sliding window. No mirroring, in training as in prediction: the paper has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from nnunet_spine_ext.training.artefacts import BlurWidth, GhostingTransform, MotionTransform
from nnunet_spine_ext.training.label_losses import DiceLoss
from nnunet_spine_ext.training.paper_recipe import PLAIN_RECIPE, PaperRecipe
from nnunet_spine_ext.training.plain_windows import PlainWindows, thick_slice_plane

PROBABILITY = 0.25
"""Of each artefact, for each window, independently."""
NOISE_STD = (0.0, 0.25)
"""Range of the standard deviation of the noise; the image has 1."""
BLUR_MM = 2.0
"""Greatest standard deviation of the Gaussian blur, on each axis of the plane."""


def artefacts(plane: Sequence[int], *, spacing_mm: Sequence[float]) -> list[BasicTransform]:
    """Return noise, blur, motion and ghosting, each with `PROBABILITY`, in a plane of two axes or all three.

    Args:
        plane: spatial axes (0 = the first after the channels).
        spacing_mm: voxel size along each of them.
    """
    blur = BlurWidth(tuple(plane), tuple(spacing_mm), BLUR_MM)
    wanted = (
        # batchgeneratorsv2 calls the standard deviation of its noise a variance.
        GaussianNoiseTransform(noise_variance=NOISE_STD, p_per_channel=1.0),
        GaussianBlurTransform(blur_sigma=blur, p_per_channel=1.0),
        MotionTransform(plane, spacing_mm=spacing_mm),
        GhostingTransform(plane),
    )
    return [RandomTransform(transform, apply_probability=PROBABILITY) for transform in wanted]


class Paper003Recipe(PaperRecipe, PlainWindows):
    """Paper 003's training, for any network.

    class SpineXPaperTrainer(Paper003Recipe): ...                  # family u-shape
    class SpineYPaperTrainer(Paper003Recipe, SliceTrainer): ...    # family slice, in this order
    """

    paper = "003"
    recipe = replace(PLAIN_RECIPE, epochs=100, learning_rate=5e-4)
    plan_configuration = "2d"

    def build_loss(self) -> DiceLoss:
        """Return the mean soft Dice over all classes."""
        return DiceLoss(
            batch_dice=self.configuration_manager.batch_dice,
            background=True,
            regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
            ddp=self.is_ddp,
        )

    def augmentations(
        self,
        *,
        rotation: tuple[float, float],  # noqa: ARG002
        mirror_axes: Sequence[int],  # noqa: ARG002
    ) -> list[BasicTransform]:
        """Return the four artefacts, in the plane of the slices where they are thick."""
        spacing_mm, dims = self.configuration_manager.spacing, len(self.configuration_manager.patch_size)
        plane = thick_slice_plane(spacing_mm, dims=dims)
        return artefacts(plane, spacing_mm=[spacing_mm[axis - dims] for axis in plane])
