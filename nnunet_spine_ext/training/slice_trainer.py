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

    def _build_loss(self) -> nn.Module:
        assert self.network_name is not None, "a SliceTrainer names a network of the registry"
        loss, terms = self.build_loss(), auxiliary_terms(self.network_name, self.network_options)
        return AuxLoss(loss, terms) if terms else loss
