"""The base of trainers whose network works on slices and has stages of its own (`networks/slice_network.py`)."""

from __future__ import annotations

from torch import nn

from nnunet_spine_ext.networks.registry import auxiliary_terms
from nnunet_spine_ext.training.auxiliary import AuxLoss
from nnunet_spine_ext.training.recipe import Recipe
from nnunet_spine_ext.training.trainer import SpineTrainer


class SliceTrainer(SpineTrainer):
    """nnU-Net's recipe, with the network's further outputs, if it has any, in place of deep supervision."""

    recipe = Recipe(deep_supervision=False)

    def main_loss(self) -> nn.Module:
        """Return the loss of one output against one target: nnU-Net's own. Hook."""
        return super().build_loss()

    def build_loss(self) -> nn.Module:
        """Return the main loss, extended by the network's further outputs where it has any."""
        assert self.network_name is not None, "a SliceTrainer names a network of the registry"
        loss, terms = self.main_loss(), auxiliary_terms(self.network_name, self.network_options)
        return AuxLoss(loss, terms) if terms else loss
