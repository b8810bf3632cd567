"""Paper 004: its 2D networks on published encoders."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry
from nnunet_spine_ext.networks.rows.sources import CITE_004, PAPER_004, known_size

ROWS = (
    NetworkEntry(
        name="deeplabv3",
        family="slice",
        paper=PAPER_004,
        cite=CITE_004,
        summary="dilated branches and the slice's average on ResNet-101",
        dims=(2,),
        network="nnunet_spine_ext.networks.deeplabv3.DeepLabV3",
        preset="nnunet_spine_ext.networks.deeplabv3.paper_deeplabv3",
        oracles=(known_size("DeepLabV3, ResNet-101 (torchvision's size)", 58_624_468),),
        trainers=("SpineDeepLabV3Trainer", "SpineDeepLabV3PaperTrainer"),
    ),
)
