"""The configuration `25d`: the preprocessed slices of `2d`, in patches of several slices.

Stock nnU-Net cuts 2D patches out of single slices, so a network that shall see neighbouring slices, or batches of them,
needs a patch with three entries. On the data of `2d` the slices stay as they were acquired (3d_fullres would resample
across them). nnU-Net's loaders and its sliding window ask how many entries the patch has, its resampling and export
how many the spacing has, so its own commands train and predict this configuration with a trainer of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_spine_ext.errors import PlanError

SLICES_CONFIGURATION = "25d"

MAX_SLICES = 16
"""Slices at the edge of a patch see themselves in place of a neighbour; of 16 slices with two neighbours on each side
that is every fourth, and the sliding window weighs the edges of a patch least."""


MIN_SLICES = 4
"""nnU-Net's own blur, in its augmentation, fails on fewer; it pads volumes that have fewer, with zeros."""


def slices_of_a_patch(shapes: Sequence[Sequence[int]], *, axis: int) -> int:
    """Return how many slices a patch has: as many as the shortest volume, within `MIN_SLICES` and `MAX_SLICES`.

    Args:
        shapes: of all volumes, before resampling (`shapes_after_crop` of a fingerprint).
        axis: across the slices, in the order of `shapes`.
    """
    return max(MIN_SLICES, min(MAX_SLICES, *(int(shape[axis]) for shape in shapes)))


def check_takes_slices(trainer: type[nnUNetTrainer]) -> None:
    """Check that a trainer's network can be run slice by slice.

    Raises:
        PlanError: it trains the network that the plan names, which takes patches as they are.
    """
    if getattr(trainer, "network_name", None) is None:
        raise PlanError(
            f"{trainer.__name__} trains the network that a plan names, and nnU-Net's own 2D networks take no patches "
            f"of several slices. {SLICES_CONFIGURATION} is for trainers of nnunet_spine_ext with a network of their "
            "own (nnunet_spine networks)."
        )
