"""Networks of the registry, and nnU-Net's own, on nnU-Net's plan for a patch, with the outputs that training has."""

from __future__ import annotations

from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from nnunet_spine_ext.networks.default_plan import default_architecture
from nnunet_spine_ext.networks.registry import NETWORKS, build

STOCK = "PlainConvUNet"
CLASSES = 20


def planned_network(name: str, patch: tuple[int, ...]) -> nn.Module:
    """Return the network of a row of the registry, or `STOCK`."""
    words = default_architecture(patch)
    if name == STOCK:
        stock: nn.Module = PlainConvUNet(input_channels=1, num_classes=CLASSES, deep_supervision=True, **words)
        return stock
    scales = NETWORKS[name].family == "u-shape"
    return build(name, words, input_channels=1, num_classes=CLASSES, deep_supervision=scales, patch_size=patch)
