"""The networks of papers 001 to 004 that are variants of one U-Net (`networks/unet.py`).

On a plan of nnU-Net they have the plan's stages, widths, norm and nonlinearity, and differ in what their papers
brought. Where that is nothing but widths and norm, rows are the same network on one plan: ct-unet is the classical
U-Net that the others are measured against, unet-bn-001 is ct-unet on slices with their neighbours and coordinates, and
unet-2d-004 and unet-3d-004 are one network in 2D and 3D. The paper trainers train the papers' own forms.

Paper 004 prints 15.08 M for U-Net-2D and 31.03 M for U-Net-3D and says "depth 4, channels 64, 128, 256, 512". No
natural reading gives these. Taken here, as the nearest in 2D: four poolings, a bottom of 512, transposed convolutions
that keep the width; with nine classes 14,788,297 in 2D (1.9 % below) and 42,945,353 in 3D. Three poolings would give
7.70 M and 22.40 M. The 31.03 M printed for 3D is what the classical *2D* U-Net of 64 … 1024 has.
"""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry, ParameterOracle
from nnunet_spine_ext.networks.rows.sources import (
    CITE_001,
    CITE_002,
    CITE_003,
    CITE_004,
    FIVE_SLICES,
    PAPER_001,
    PAPER_002,
    PAPER_003,
    PAPER_004,
    known_size,
)

_UNET = "nnunet_spine_ext.networks.unet.SpineUNet"
_PRESET = "nnunet_spine_ext.networks.unet_papers.paper_unet"


def _size(
    what: str, network: str, *, inputs: int, classes: int, parameters: int, published: int | None = None, dims: int = 2
) -> tuple[ParameterOracle]:
    """Return the oracle of a row; `published` only where it differs from ours."""
    form = {"network": network, "input_channels": inputs, "num_classes": classes, "dims": dims}
    return (known_size(what, parameters, published=published, **form),)


ROWS: tuple[NetworkEntry, ...] = (
    NetworkEntry(
        name="unet-001",
        family="u-shape",
        paper=PAPER_001,
        cite=CITE_001,
        summary="U-Net with a nonlinearity after up-sampling, five slices and coordinates",
        dims=(2,),
        network=_UNET,
        options={"up_act": True, "slices": FIVE_SLICES},
        preset=_PRESET,
        oracles=_size("paper 001, UNet", "unet-001", inputs=7, classes=1, parameters=31_034_049),
        trainers=("SpineUNet001Trainer", "SpineUNet001PaperTrainer"),
    ),
    NetworkEntry(
        name="unet-bn-001",
        family="u-shape",
        paper=PAPER_001,
        cite=CITE_001,
        summary="U-Net, five slices and coordinates (the paper: BatchNorm, one stage less)",
        dims=(2,),
        network=_UNET,
        options={"slices": FIVE_SLICES},
        preset=_PRESET,
        oracles=_size("paper 001, UNet_BN", "unet-bn-001", inputs=7, classes=1, parameters=7_705_281),
        trainers=("SpineUNetBN001Trainer", "SpineUNetBN001PaperTrainer"),
    ),
    NetworkEntry(
        name="ct-unet",
        family="u-shape",
        paper=PAPER_002,
        cite=CITE_002,
        summary="the classical U-Net: double convolutions, max-pooling",
        dims=(2, 3),
        network=_UNET,
        preset=_PRESET,
        oracles=_size("paper 002, versions 1 and 2", "ct-unet", inputs=3, classes=1, parameters=31_037_633),
        trainers=("SpineCTUNetTrainer", "SpineCTUNetPaperTrainer"),
    ),
    NetworkEntry(
        name="ct-unet-spconv",
        family="u-shape",
        paper=PAPER_002,
        cite=CITE_002,
        summary="U-Net with split convolutions (SPConv)",
        dims=(2, 3),
        network=_UNET,
        options={"block": "spconv"},
        preset=_PRESET,
        oracles=_size("paper 002, version 3", "ct-unet-spconv", inputs=3, classes=1, parameters=13_025_357),
        trainers=("SpineCTUNetSPConvTrainer", "SpineCTUNetSPConvPaperTrainer"),
    ),
    NetworkEntry(
        name="ct-unet-ra",
        family="u-shape",
        paper=PAPER_002,
        cite=CITE_002,
        summary="U-Net with residual attention on its skips (RA)",
        dims=(2, 3),
        network=_UNET,
        options={"skip": "residual_attention"},
        preset=_PRESET,
        oracles=_size(
            "paper 002, version 4", "ct-unet-ra", inputs=3, classes=1, parameters=33_129_477, published=31_037_633
        ),
        trainers=("SpineCTUNetRATrainer", "SpineCTUNetRAPaperTrainer"),
    ),
    NetworkEntry(
        name="ct-unet-conv-module",
        family="u-shape",
        paper=PAPER_002,
        cite=CITE_002,
        summary="U-Net with wide context and several scales in each stage (CIE, MFE), and RA",
        dims=(2, 3),
        network=_UNET,
        options={"block": "conv_module", "skip": "residual_attention"},
        preset=_PRESET,
        oracles=_size(
            "paper 002, version 5", "ct-unet-conv-module", inputs=3, classes=1, parameters=79_506_119,
            published=77_414_275,
        ),
        trainers=("SpineCTUNetConvModuleTrainer", "SpineCTUNetConvModulePaperTrainer"),
    ),
    NetworkEntry(
        name="unet-003",
        family="u-shape",
        paper=PAPER_003,
        cite=CITE_003,
        summary="U-Net with linear up-sampling",
        dims=(2, 3),
        network=_UNET,
        options={"up": "linear"},
        preset=_PRESET,
        oracles=_size("paper 003, U-Net", "unet-003", inputs=1, classes=20, parameters=13_395_412),
        trainers=("SpineUNet003Trainer", "SpineUNet003PaperTrainer"),
    ),
    NetworkEntry(
        name="attention-unet",
        family="u-shape",
        paper=PAPER_003,
        cite=CITE_003,
        summary="U-Net with additive attention gates on its skips",
        dims=(2, 3),
        network=_UNET,
        options={"skip": "attention_gate", "up": "nearest_conv"},
        preset=_PRESET,
        oracles=_size("paper 003, Attention U-Net", "attention-unet", inputs=1, classes=20, parameters=34_878_656),
        trainers=("SpineAttentionUNetTrainer", "SpineAttentionUNetPaperTrainer"),
    ),
    NetworkEntry(
        name="unet-2d-004",
        family="u-shape",
        paper=PAPER_004,
        cite=CITE_004,
        summary="U-Net whose up-sampling keeps the width, in 2D",
        dims=(2,),
        network=_UNET,
        options={"up": "transposed_same"},
        preset=_PRESET,
        oracles=_size(
            "paper 004, U-Net-2D (printed: 15.08 M)", "unet-2d-004", inputs=1, classes=9, parameters=14_788_297,
            published=15_080_000,
        ),
        trainers=("SpineUNet2D004Trainer", "SpineUNet2D004PaperTrainer"),
    ),
    NetworkEntry(
        name="unet-3d-004",
        family="u-shape",
        paper=PAPER_004,
        cite=CITE_004,
        summary="U-Net whose up-sampling keeps the width, in 3D",
        dims=(3,),
        network=_UNET,
        options={"up": "transposed_same"},
        preset=_PRESET,
        oracles=_size(
            "paper 004, U-Net-3D (printed: 31.03 M)", "unet-3d-004", inputs=1, classes=9, parameters=42_945_353,
            published=31_030_000, dims=3,
        ),
        trainers=("SpineUNet3D004Trainer", "SpineUNet3D004PaperTrainer"),
    ),
)  # fmt: skip
