"""Paper 003: its 2D networks with context heads on published encoders."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry
from nnunet_spine_ext.networks.rows.sources import CITE_003, PAPER_003, known_size

ROWS = (
    NetworkEntry(
        name="pspnet",
        family="slice",
        paper=PAPER_003,
        cite=CITE_003,
        summary="averages over grids of 1, 2, 3 and 6 cells on a dilated ResNet-101",
        dims=(2,),
        network="nnunet_spine_ext.networks.pspnet.PSPNet",
        preset="nnunet_spine_ext.networks.pspnet.paper_pspnet",
        oracles=(
            known_size("paper 003, PSPNet on ResNet-34", 27_495_511, encoder="resnet34", head="progressive"),
            known_size("PSPNet, ResNet-101", 65_577_940),
            known_size("PSPNet, ResNet-101, two heads", 67_942_888, aux=True),
            known_size("PSPNet, ResNet-101 with a stem of three convolutions", 65_706_836, encoder="resnet101s"),
        ),
        trainers=("SpinePSPNetTrainer", "SpinePSPNetPaperTrainer"),
    ),
    NetworkEntry(
        name="deeplabv3plus",
        family="slice",
        paper=PAPER_003,
        cite=CITE_003,
        summary="dilated branches on ResNet-101, then detail from its 1/4 map",
        dims=(2,),
        network="nnunet_spine_ext.networks.deeplabv3plus.DeepLabV3Plus",
        preset="nnunet_spine_ext.networks.deeplabv3plus.paper_deeplabv3plus",
        oracles=(known_size("paper 003, DeepLabv3+ on ResNet-101", 59_337_780),),
        trainers=("SpineDeepLabV3PlusTrainer", "SpineDeepLabV3PlusPaperTrainer"),
    ),
    NetworkEntry(
        name="denseaspp",
        family="slice",
        paper=PAPER_003,
        cite=CITE_003,
        summary="densely connected dilated convolutions on DenseNet-169",
        dims=(2,),
        network="nnunet_spine_ext.networks.denseaspp.DenseASPP",
        preset="nnunet_spine_ext.networks.denseaspp.paper_denseaspp",
        oracles=(known_size("paper 003, DenseASPP on DenseNet-169", 18_416_076),),
        trainers=("SpineDenseASPPTrainer", "SpineDenseASPPPaperTrainer"),
    ),
)
