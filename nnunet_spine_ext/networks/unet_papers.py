"""The U-Nets of papers 001 to 004 as the papers have them: their stages, widths, norm and activation.

`paper_words` gives the words of the plan that a paper would have made; with the paper's options (`unet_options`) they
make its network on any nnU-Net plan. `paper_unet` builds it, for counting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.planned import plain_words
from nnunet_spine_ext.networks.unet import SpineUNet
from nnunet_spine_ext.networks.unet_options import (
    ATTENTION_UNET_PAPER,
    CT_UNET_CONV_MODULE_PAPER,
    CT_UNET_PAPER,
    CT_UNET_RA_PAPER,
    CT_UNET_SPCONV_PAPER,
    UNET_001_PAPER,
    UNET_003_PAPER,
    UNET_2D_004_PAPER,
    UNET_3D_004_PAPER,
    UNET_BN_001_PAPER,
    UNetOptions,
)

PAPER_OPTIONS: Mapping[str, UNetOptions] = {
    "unet-001": UNET_001_PAPER,
    "unet-bn-001": UNET_BN_001_PAPER,
    "ct-unet": CT_UNET_PAPER,
    "ct-unet-spconv": CT_UNET_SPCONV_PAPER,
    "ct-unet-ra": CT_UNET_RA_PAPER,
    "ct-unet-conv-module": CT_UNET_CONV_MODULE_PAPER,
    "unet-003": UNET_003_PAPER,
    "attention-unet": ATTENTION_UNET_PAPER,
    "unet-2d-004": UNET_2D_004_PAPER,
    "unet-3d-004": UNET_3D_004_PAPER,
}
"""Row of the registry → the paper's own options."""


def paper_words(options: UNetOptions, *, dims: int = 2, pool_slices: bool = True) -> dict[str, Any]:
    """Return the words of the paper's own stages: kernels of 3, two convolutions a stage, every stage halves.

    Args:
        options: with `features`, one width for each stage.
        dims: 2 or 3.
        pool_slices: in 3D, whether axis 0 is halved as well; papers do not always say, and 12 slices cannot be halved
            four times.

    Raises:
        NetworkPlanError: options without `features`.
    """
    if options.features is None:
        raise NetworkPlanError("These options name no features; the paper's own widths are part of its network.")
    words = plain_words(options.features, dims=dims)
    if dims == 3 and not pool_slices:
        words["strides"] = [[1, 1, 1]] + [[1, 2, 2]] * (len(options.features) - 1)
    return words


def paper_unet(*, network: str, input_channels: int, num_classes: int, dims: int = 2) -> SpineUNet:
    """Return the paper's own form of a row.

    Args:
        network: name of the row.
        input_channels: of the image and of what the paper adds to it (paper 001: five slices, two maps).
        num_classes: logits for each voxel.
        dims: 2 or 3.
    """
    options = PAPER_OPTIONS[network]
    words = paper_words(options, dims=dims)
    made = SpineUNet(input_channels=input_channels, num_classes=num_classes, options=options, **words)
    made.apply(made.initialize)
    return made
