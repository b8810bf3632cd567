"""Paper 004 (ASPP-UNet and its comparators)."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry, ParameterOracle
from nnunet_spine_ext.networks.rows.sources import CITE_004, PAPER_004, known_size


def _ablation(positions: str, parameters: int, *, published: int | None = None) -> ParameterOracle:
    """Return the oracle of a row of the paper's table 2; the paper prints the size of the last alone."""
    stages = tuple(str(i) in positions for i in (1, 2, 3, 4))
    what = f"paper 004, read literally, ASPP {'+'.join(positions)}"
    what += "" if published is None else " (printed: 22.06 M)"
    return known_size(what, parameters, published=published, aspp_stages=stages)


ROWS: tuple[NetworkEntry, ...] = (
    NetworkEntry(
        name="aspp-unet",
        family="u-shape",
        paper=PAPER_004,
        cite=CITE_004,
        summary="U-Net with atrous spatial pyramid pooling on its way down",
        dims=(2, 3),
        network="nnunet_spine_ext.networks.aspp_unet.SpineASPPUNet",
        preset="nnunet_spine_ext.networks.aspp_unet.paper_aspp_unet",
        oracles=(
            _ablation("1", 10_281_161),
            _ablation("2", 10_700_105),
            _ablation("3", 12_373_577),
            _ablation("4", 19_062_857),
            _ablation("34", 21_295_689),
            _ablation("234", 21_855_049),
            _ablation("1234", 21_995_465, published=22_060_000),
        ),
        trainers=("SpineASPPUNetTrainer", "SpineASPPUNetNoASPPTrainer", "SpineASPPUNetPaperTrainer"),
    ),
    NetworkEntry(
        name="segnet",
        family="u-shape",
        paper=PAPER_004,
        cite=CITE_004,
        summary="encoder and mirror image tied by the places of the maxima alone (SegNet)",
        dims=(2,),
        network="nnunet_spine_ext.networks.segnet.SpineSegNet",
        preset="nnunet_spine_ext.networks.segnet.paper_segnet",
        oracles=(
            known_size("SegNet on VGG16 with BatchNorm", 29_453_396),
            known_size(
                "paper 004, SegNet of four levels (printed: 15.21 M)",
                15_282_057,
                published=15_210_000,
                levels=4,
                num_classes=9,
            ),
        ),
        trainers=("SpineSegNetTrainer", "SpineSegNetPaperTrainer"),
    ),
)
