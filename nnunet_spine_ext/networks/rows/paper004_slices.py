"""Paper 004: its 2D networks on published encoders."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry, ParameterOracle

_PAPER_004 = "Spine MRI image segmentation method based on ASPP and U-Net network (MBE 2023)"

ROWS = (
    NetworkEntry(
        name="deeplabv3",
        family="slice",
        paper=_PAPER_004,
        cite="Cai 2023",
        summary="dilated branches and the slice's average on ResNet-101",
        dims=(2,),
        network="nnunet_spine_ext.networks.deeplabv3.DeepLabV3",
        preset="nnunet_spine_ext.networks.deeplabv3.paper_deeplabv3",
        oracles=(
            ParameterOracle(
                what="DeepLabV3, ResNet-101 (torchvision's size)",
                arguments={},
                parameters=58_624_468,
                published=58_624_468,
            ),
        ),
        trainers=("SpineDeepLabV3Trainer", "SpineDeepLabV3PaperTrainer"),
    ),
)
