"""Trainers whose network must know the patch, because a dilation may reach further than its map."""

from __future__ import annotations

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_spine_ext.training.network import build_network
from nnunet_spine_ext.training.trainer import SpineTrainer


class KnowsPatch(SpineTrainer):
    """A trainer that gives its network the option `patch_size`, that of the plan, in training and prediction alike.

    The patch changes which voxels a dilated convolution reads, never a weight or its name: checkpoints load whether a
    network knows its patch or not.
    """

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,  # noqa: ARG003
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Return the trainer's network for any plan."""
        assert cls.network_name is not None, "a trainer that knows the patch names a network of the registry"
        patch_size = [int(n) for n in configuration_manager.patch_size]
        return build_network(
            cls.network_name,
            cls.architecture_words(configuration_manager),
            options={**cls.network_options, "patch_size": patch_size},
            input_channels=num_input_channels,
            num_classes=num_output_channels,
            deep_supervision=enable_deep_supervision,
            patch_size=patch_size,
        )
