"""The papers that rows come from, and what their rows say alike."""

from __future__ import annotations

from collections.abc import Mapping

from nnunet_spine_ext.networks.entries import ParameterOracle

PAPER_000 = "Automatic spine segmentation based on an UNet combining 2D and 3D modules (SCUT, 2023)"
PAPER_001 = "Application of Hybrid Network of UNet and Feature Pyramid Network in Spine Segmentation (MeMeA 2021)"
PAPER_002 = "CT Image Segmentation (Z. Li, MSc dissertation, Cardiff University, 2021)"
PAPER_003 = "Review of Deep Learning Models for Spine Segmentation (ICMR 2022)"
PAPER_004 = "Spine MRI image segmentation method based on ASPP and U-Net network (MBE 2023)"

CITE_000, CITE_001, CITE_002, CITE_003, CITE_004 = "SCUT 2023", "Liu 2021", "Li 2021", "Zhou 2022", "Cai 2023"

FIVE_SLICES: Mapping[str, object] = {"neighbours": 2, "coordinates": True}
"""What the networks of paper 001 see."""


def known_size(what: str, parameters: int, *, published: int | None = None, **arguments: object) -> ParameterOracle:
    """Return the oracle of a form of a network; `published` only where it differs from ours.

    Args:
        what: the form, in words.
        parameters: of our network.
        published: of the source's network.
        arguments: of the row's preset.
    """
    theirs = parameters if published is None else published
    return ParameterOracle(what=what, arguments=arguments, parameters=parameters, published=theirs)
