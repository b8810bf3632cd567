"""Trainers whose network must know the patch, because a dilation may reach further than its map."""

from __future__ import annotations

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunet_spine_ext.training.trainer import SpineTrainer


class KnowsPatch(SpineTrainer):
    """A trainer that gives its network the option `patch_size`, that of the plan, in training and prediction alike.

    The patch changes which voxels a dilated convolution reads, never a weight or its name: checkpoints load whether a
    network knows its patch or not.
    """

    @classmethod
    def build_options(cls, configuration_manager: ConfigurationManager) -> dict[str, object]:
        """Return the trainer's options and the patch."""
        patch_size = [int(n) for n in configuration_manager.patch_size]
        return {**super().build_options(configuration_manager), "patch_size": patch_size}
