"""What the papers print beside what their networks are, and why a network of ours has another size.

Only facts that no row can hold: a row has the sizes, this file has the reasons and paper 003's table of costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nnunet_spine_ext.networks.entries import NetworkEntry, ParameterOracle
from nnunet_spine_ext.networks.rows.sources import PAPER_003

__all__ = [
    "PAPER_003", "PAPER_003_CHANNELS", "PAPER_003_COSTS", "PAPER_003_SIZE", "REASONS", "PublishedCost",
    "why_it_differs",
]  # fmt: skip

_HYBRID = (
    "the published code has a weight for every voxel in its LayerNorms, convolutions that are never called, and one "
    "pair of convolutions in two places; here norms have one weight a channel, and each convolution is its own"
)

_RA = "the weights of RA were not registered in the paper, so they were neither counted nor trained"

_NEAREST = "no natural reading of the paper gives its figure; this is the nearest"

REASONS: Mapping[str, str] = {
    "hybrid": _HYBRID,
    "hybrid-no-hanc": _HYBRID,
    "hybrid-no-ux": _HYBRID,
    "hybrid-res": _HYBRID,
    "hybrid-paper": _HYBRID,
    "ct-unet-ra": _RA,
    "ct-unet-conv-module": _RA,
    "resunetpp": "the paper prints whole millions",
    "unet-2d-004": _NEAREST,
    "unet-3d-004": "no natural reading of the paper gives its figure, which is that of a 2D U-Net of 64 to 1024",
    "aspp-unet": _NEAREST,
    "segnet": _NEAREST,
}
"""Row → why our network differs in size from the published one, in one line."""


def why_it_differs(row: NetworkEntry, oracle: ParameterOracle) -> str:
    """Return why our network has another size than the source's; nothing where it has the same."""
    if oracle.parameters == oracle.published:
        return ""
    return f"{oracle.parameters - oracle.published:+,}: {REASONS.get(row.name, 'not explained')}"


PAPER_003_SIZE = (880, 880)
PAPER_003_CHANNELS = 1


@dataclass(frozen=True, kw_only=True)
class PublishedCost:
    """A line of paper 003's table of costs, and what it turned out to be."""

    parameters: str
    """As printed."""
    gmac: float
    """As printed, under "FLOPs (G)": they are multiply-accumulates."""
    note: str
    """What reproduces it, in one line."""
    arguments: Mapping[str, object] = field(default_factory=dict)
    """Of the row's preset, over those of the known size."""
    form: str = "paper 003"
    """In the name of the size known for that form (`ParameterOracle.what`)."""

    def known_size(self, row: NetworkEntry) -> ParameterOracle:
        """Return the size known for the form that the paper ran."""
        return next(known for known in row.oracles if self.form in known.what)


PAPER_003_COSTS: Mapping[str, PublishedCost] = {
    "unet-003": PublishedCost(parameters="13M", gmac=366.85, note="64 to 512, the bottom 512 as well"),
    "pspnet": PublishedCost(
        parameters="27M", gmac=470.54, note='on ResNet-34 dilated to 1/8, although the table says "ResNet101"'
    ),
    "deeplabv3plus": PublishedCost(parameters="59M", gmac=261.38, note="ResNet-101 to 1/16, ordinary convolutions"),
    "denseaspp": PublishedCost(parameters="18M", gmac=124.4, note="DenseNet-169 to 1/16"),
    "attention-unet": PublishedCost(parameters="34M", gmac=787.19, note="2D, 64 to 1024"),
    "danet": PublishedCost(
        parameters="66M",
        gmac=139.01,
        note="ResNet-101 not dilated (1/32); DANet itself has 1/8",
        arguments={"output_stride": 32},
    ),
    "emanet": PublishedCost(parameters="53M", gmac=681.19, note="ResNet-101 to 1/8, stem of three convolutions"),
    "infnet": PublishedCost(
        parameters="50M", gmac=192.55, note="on Res2Net-101; its form for several classes is not published"
    ),
    "miniseg": PublishedCost(parameters="83K", gmac=1.5, note="with its further heads, which are idle in prediction"),
    "psanet": PublishedCost(
        parameters="78M",
        gmac=482.13,
        note="masks for 880 pixels at 1/8; which ResNet cannot be told, nor its cost",
        form="880 x 880",
    ),
    "resunetpp": PublishedCost(parameters="14M", gmac=836.62, note="a variant with 32 to 512 channels"),
    "transunet": PublishedCost(
        parameters="110M",
        gmac=514.03,
        note="R50-ViT-B/16 at 880 pixels: near, not exact",
    ),
}
"""Row → paper 003's table 3, for one image of 880 x 880."""
