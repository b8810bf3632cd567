"""Paper 003 (twelve networks compared on MRSpineSeg): those that a plan shapes and no other module has."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry
from nnunet_spine_ext.networks.rows.sources import CITE_003, PAPER_003, known_size

ROWS: tuple[NetworkEntry, ...] = (
    NetworkEntry(
        name="resunetpp",
        family="u-shape",
        paper=PAPER_003,
        cite=CITE_003,
        summary="residual U-Net with squeeze and excitation, ASPP, and attention in the decoder (ResUNet++)",
        dims=(2, 3),
        network="nnunet_spine_ext.networks.resunetpp.SpineResUNetPP",
        preset="nnunet_spine_ext.networks.resunetpp.paper_resunetpp",
        oracles=(
            known_size("ResUNet++, its authors' form", 4_062_996, form="official"),
            known_size("paper 003, ResUNet++ (printed: 14 M)", 14_482_039, published=14_000_000, form="paper003"),
        ),
        trainers=("SpineResUNetPPTrainer", "SpineResUNetPPPaperTrainer"),
    ),
    NetworkEntry(
        name="miniseg",
        family="u-shape",
        paper=PAPER_003,
        cite=CITE_003,
        summary="dilated depthwise convolutions in two paths, 83 thousand weights as published (MiniSeg)",
        dims=(2, 3),
        network="nnunet_spine_ext.networks.miniseg.SpineMiniSeg",
        preset="nnunet_spine_ext.networks.miniseg.paper_miniseg",
        oracles=(
            known_size("paper 003, MiniSeg", 82_668),
            known_size("MiniSeg with its further heads", 85_128, aux=True),
        ),
        trainers=("SpineMiniSegTrainer", "SpineMiniSegPaperTrainer"),
    ),
)
