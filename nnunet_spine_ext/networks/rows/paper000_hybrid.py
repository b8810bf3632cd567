"""Paper 000: the hybrid of 2D and 3D modules, and its ablations."""

from __future__ import annotations

from collections.abc import Mapping

from nnunet_spine_ext.networks.entries import NetworkEntry, ParameterOracle
from nnunet_spine_ext.networks.hybrid_options import PAPER_OPTIONS
from nnunet_spine_ext.networks.rows.sources import CITE_000, PAPER_000, known_size

_HYBRID = "nnunet_spine_ext.networks.hybrid.SpineHybrid"
_PAPER_HYBRID = "nnunet_spine_ext.networks.hybrid.paper_hybrid"


def _arm(what: str, blocks: Mapping[str, str], *, width: int, parameters: int, published: int) -> ParameterOracle:
    what = f"paper 000, {what}, width {width}"
    return known_size(what, parameters, published=published, **blocks, width=width)


_UX_HANC = {"plane_block": "ux", "link_block": "hanc"}
_UX_RES = {"plane_block": "ux", "link_block": "res"}
_RES_HANC = {"plane_block": "res", "link_block": "hanc"}
_RES_RES = {"plane_block": "res", "link_block": "res"}

ROWS = (
    NetworkEntry(
        name="hybrid",
        family="u-shape",
        paper=PAPER_000,
        cite=CITE_000,
        summary="large kernels in the plane, HANC links across slices",
        dims=(2, 3),
        network=_HYBRID,
        options=_UX_HANC,
        trainers=("SpineHybridTrainer",),
    ),
    NetworkEntry(
        name="hybrid-no-hanc",
        family="u-shape",
        paper=PAPER_000,
        cite=CITE_000,
        summary="ablation: residual blocks in the links",
        dims=(2, 3),
        network=_HYBRID,
        options=_UX_RES,
        preset=_PAPER_HYBRID,
        oracles=(_arm("w/o HANC", _UX_RES, width=64, parameters=137_446_666, published=381_344_668),),
        trainers=("SpineHybridNoHANCTrainer",),
    ),
    NetworkEntry(
        name="hybrid-no-ux",
        family="u-shape",
        paper=PAPER_000,
        cite=CITE_000,
        summary="ablation: residual blocks in the plane",
        dims=(2, 3),
        network=_HYBRID,
        options=_RES_HANC,
        preset=_PAPER_HYBRID,
        oracles=(_arm("w/o UX", _RES_HANC, width=64, parameters=722_140_618, published=933_216_348),),
        trainers=("SpineHybridNoUXTrainer",),
    ),
    NetworkEntry(
        name="hybrid-res",
        family="u-shape",
        paper=PAPER_000,
        cite=CITE_000,
        summary="ablation: residual blocks only",
        dims=(2, 3),
        network=_HYBRID,
        options=_RES_RES,
        preset=_PAPER_HYBRID,
        oracles=(_arm("only ResBlock", _RES_RES, width=64, parameters=115_156_746, published=301_695_068),),
        trainers=("SpineHybridResTrainer",),
    ),
    NetworkEntry(
        name="hybrid-paper",
        family="u-shape",
        paper=PAPER_000,
        cite=CITE_000,
        summary="the paper's own dense network at its widths, defects mended",
        dims=(3,),
        network=_HYBRID,
        options=PAPER_OPTIONS.as_json(),
        preset=_PAPER_HYBRID,
        oracles=(
            _arm("full", _UX_HANC, width=64, parameters=744_430_538, published=1_012_865_948),
            _arm("full", _UX_HANC, width=32, parameters=186_132_970, published=312_212_956),
        ),
        trainers=("SpineHybridPaperTrainer",),
    ),
)
