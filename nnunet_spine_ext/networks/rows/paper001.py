"""Paper 001: Res50_UNet and its dense comparator; the plain U-Nets that it compares with are in `unets.py`."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry, ParameterOracle
from nnunet_spine_ext.networks.rows.sources import CITE_001, FIVE_SLICES, PAPER_001, known_size

# The paper gives no counts: those below follow from its figures, part by part (the tests hold the arithmetic).


def _res50(encoder: str, parameters: int) -> ParameterOracle:
    return known_size(f"paper 001, Res50_UNet with {encoder}", parameters, encoder=encoder)


def _dense(layers: int, parameters: int) -> ParameterOracle:
    return known_size(f"paper 001, UNet_Dense with {layers} layers a block", parameters, layers=layers)


ROWS = (
    NetworkEntry(
        name="res50-unet",
        family="slice",
        paper=PAPER_001,
        cite=CITE_001,
        summary="ResNeXt-50 and a panoptic feature pyramid on five slices and two coordinate maps",
        dims=(2,),
        network="nnunet_spine_ext.networks.res50_unet.Res50UNet",
        options={"slices": FIVE_SLICES},
        preset="nnunet_spine_ext.networks.res50_unet.paper_res50_unet",
        oracles=(_res50("resnext50_32x4d", 23_649_601), _res50("resnet50", 24_177_729)),
        trainers=("SpineRes50UNetTrainer", "SpineRes50UNetPaperTrainer"),
    ),
    NetworkEntry(
        name="unet-dense-001",
        family="u-shape",
        paper=PAPER_001,
        cite=CITE_001,
        summary="U-Net of dense blocks on five slices and two coordinate maps",
        dims=(2,),
        network="nnunet_spine_ext.networks.unet_dense.UNetDense",
        options={"slices": FIVE_SLICES},
        preset="nnunet_spine_ext.networks.unet_dense.paper_unet_dense",
        oracles=(_dense(4, 1_125_665), _dense(2, 1_071_905)),
        trainers=("SpineUNetDense001Trainer", "SpineUNetDense001PaperTrainer"),
    ),
)
