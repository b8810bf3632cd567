"""Paper 003: its 2D networks with attention heads on published encoders."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry, ParameterOracle
from nnunet_spine_ext.networks.rows.sources import CITE_003, PAPER_003, known_size


def _psanet(parameters: int, *, side: int, encoder: str = "resnet101") -> ParameterOracle:
    stem = " with a stem of three convolutions" if encoder == "resnet101s" else ""
    what = f"PSANet, ResNet-101{stem}, {side} x {side}"
    return known_size(what, parameters, patch_size=(side, side), encoder=encoder)


ROWS = (
    NetworkEntry(
        name="danet",
        family="slice",
        paper=PAPER_003,
        cite=CITE_003,
        summary="attention between positions and between channels on ResNet-101, three heads in training",
        dims=(2,),
        network="nnunet_spine_ext.networks.danet.DANet",
        preset="nnunet_spine_ext.networks.danet.paper_danet",
        oracles=(
            known_size("paper 003, DANet on ResNet-101", 66_450_046),
            known_size("DANet, ResNet-101 with a stem of three convolutions", 66_578_942, encoder="resnet101s"),
        ),
        trainers=("SpineDANetTrainer", "SpineDANetPaperTrainer"),
    ),
    NetworkEntry(
        name="emanet",
        family="slice",
        paper=PAPER_003,
        cite=CITE_003,
        summary="attention to 64 bases, found by expectation-maximisation, on ResNet-101",
        dims=(2,),
        network="nnunet_spine_ext.networks.emanet.EMANet",
        preset="nnunet_spine_ext.networks.emanet.paper_emanet",
        oracles=(
            known_size("paper 003, EMANet on ResNet-101 with a stem of three convolutions", 53_772_116),
            known_size("EMANet, ResNet-101", 53_643_220, encoder="resnet101"),
        ),
        trainers=("SpineEMANetTrainer", "SpineEMANetPaperTrainer"),
    ),
    NetworkEntry(
        name="psanet",
        family="slice",
        paper=PAPER_003,
        cite=CITE_003,
        summary="a map of attention for each position, on ResNet-101; built for the plan's patch",
        dims=(2,),
        network="nnunet_spine_ext.networks.psanet.PSANet",
        preset="nnunet_spine_ext.networks.psanet.paper_psanet",
        oracles=(
            _psanet(78_272_468, side=880),
            _psanet(78_723_028, side=896),
            _psanet(70_170_580, side=512),
            _psanet(78_401_364, side=880, encoder="resnet101s"),
            _psanet(78_851_924, side=896, encoder="resnet101s"),
        ),
        trainers=("SpinePSANetTrainer", "SpinePSANetPaperTrainer"),
    ),
    NetworkEntry(
        name="infnet",
        family="slice",
        paper=PAPER_003,
        cite=CITE_003,
        summary="coarse segmentation, edges and reverse attention on Res2Net-101, five outputs in training",
        dims=(2,),
        network="nnunet_spine_ext.networks.infnet.InfNet",
        preset="nnunet_spine_ext.networks.infnet.paper_infnet",
        oracles=(
            known_size("paper 003, Inf-Net on Res2Net-101 with a deep stem", 50_608_422),
            known_size("paper 003, Inf-Net on Res2Net-101", 50_583_494, encoder="res2net101_26w_4s"),
        ),
        trainers=("SpineInfNetTrainer", "SpineInfNetPaperTrainer"),
    ),
    NetworkEntry(
        name="transunet",
        family="slice",
        paper=PAPER_003,
        cite=CITE_003,
        summary="U-Net with a ResNet-50 and a Vision Transformer at the bottom; built for the plan's patch",
        dims=(2,),
        network="nnunet_spine_ext.networks.transunet.TransUNet",
        preset="nnunet_spine_ext.networks.transunet.paper_transunet",
        oracles=(
            known_size("TransUNet, 224 x 224", 105_272_404, patch_size=(224, 224)),
            known_size("paper 003, TransUNet, 880 x 880", 107_445_076, patch_size=(880, 880)),
        ),
        trainers=("SpineTransUNetTrainer", "SpineTransUNetPaperTrainer"),
    ),
)
