"""The table of networks: a network is one file and one row here.

Tests, docs, the `networks` command and the benchmark read this table. Importing it imports no network.
"""

from __future__ import annotations

import pydoc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from nnunet_spine_ext.errors import PlanError
from nnunet_spine_ext.networks.hybrid_options import PAPER_OPTIONS
from nnunet_spine_ext.networks.plan_shape import plan_dims
from nnunet_spine_ext.networks.plan_words import plan_words


@dataclass(frozen=True, kw_only=True)
class ParameterOracle:
    """A network whose size is known from its source; the tests build it and compare."""

    what: str
    arguments: Mapping[str, object]
    """Of the row's `preset`."""
    parameters: int
    """Of our network."""
    published: int
    """Of the source's network. Where it differs, a test derives one from the other, term by term."""


@dataclass(frozen=True, kw_only=True)
class NetworkEntry:
    """One row: everything about a network but its code."""

    name: str
    family: str
    """`u-shape`: planned by the words of a U-Net plan, `network` takes them and `options`."""
    paper: str
    """Its title."""
    cite: str
    """The paper in a word or two, for tables."""
    summary: str
    dims: tuple[int, ...]
    network: str
    """Dotted path of the class."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What makes this row different from the class's defaults, in JSON form."""
    preset: str | None = None
    """Dotted path of a function that builds the paper's own network."""
    oracles: tuple[ParameterOracle, ...] = ()
    trainers: tuple[str, ...] = ()


_PAPER_000 = "Automatic spine segmentation based on an UNet combining 2D and 3D modules (SCUT, 2023)"
_CITE_000 = "SCUT 2023"
_HYBRID = "nnunet_spine_ext.networks.hybrid.SpineHybrid"
_PAPER_HYBRID = "nnunet_spine_ext.networks.hybrid.paper_hybrid"


def _arm(what: str, blocks: Mapping[str, str], *, width: int, parameters: int, published: int) -> ParameterOracle:
    arguments = {**blocks, "width": width}
    return ParameterOracle(
        what=f"paper 000, {what}, width {width}", arguments=arguments, parameters=parameters, published=published
    )


_UX_HANC = {"plane_block": "ux", "link_block": "hanc"}
_UX_RES = {"plane_block": "ux", "link_block": "res"}
_RES_HANC = {"plane_block": "res", "link_block": "hanc"}
_RES_RES = {"plane_block": "res", "link_block": "res"}

_ROWS = (
    NetworkEntry(
        name="hybrid",
        family="u-shape",
        paper=_PAPER_000,
        cite=_CITE_000,
        summary="large kernels in the plane, HANC links across slices",
        dims=(2, 3),
        network=_HYBRID,
        options=_UX_HANC,
        trainers=("SpineHybridTrainer",),
    ),
    NetworkEntry(
        name="hybrid-no-hanc",
        family="u-shape",
        paper=_PAPER_000,
        cite=_CITE_000,
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
        paper=_PAPER_000,
        cite=_CITE_000,
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
        paper=_PAPER_000,
        cite=_CITE_000,
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
        paper=_PAPER_000,
        cite=_CITE_000,
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

NETWORKS: dict[str, NetworkEntry] = {row.name: row for row in _ROWS}
"""Name → row, in the order in which they are shown."""


def entry(name: str) -> NetworkEntry:
    """Return the row called `name`.

    Raises:
        PlanError: there is none.
    """
    if name not in NETWORKS:
        raise PlanError(f"There is no network {name!r}; there are {', '.join(NETWORKS)}.")
    return NETWORKS[name]


def build(
    name: str,
    architecture: Mapping[str, Any],
    *,
    input_channels: int,
    num_classes: int,
    deep_supervision: bool = False,
) -> nn.Module:
    """Build a network for any U-Net plan; its weights are torch's defaults (apply `network.initialize` for nnU-Net's).

    Args:
        name: of a row.
        architecture: the `arch_kwargs` of a plan for PlainConvUNet, ResidualEncoderUNet or one of ours, dotted paths
            already replaced by classes. Its "options", if any, go over those of the row.
        input_channels: channels of the image.
        num_classes: logits for each voxel.
        deep_supervision: whether the network returns all its resolutions.

    Raises:
        PlanError: no such row, or words that do not fit together.
    """
    row = entry(name)
    words = plan_words(architecture)
    dims = plan_dims(words["conv_op"])
    if dims not in row.dims:
        raise PlanError(f"The network {name!r} takes no {dims}D plan.")
    options = {**row.options, **(architecture.get("options") or {})}
    network: nn.Module = _located(row.network)(
        input_channels=input_channels,
        num_classes=num_classes,
        deep_supervision=deep_supervision,
        options=options,
        **words,
    )
    return network


def build_preset(name: str, arguments: Mapping[str, object]) -> nn.Module:
    """Build the paper's own form of a row, for example from the arguments of one of its oracles.

    Raises:
        PlanError: no such row, or it has no such form.
    """
    row = entry(name)
    if row.preset is None:
        raise PlanError(f"The network {name!r} has no form of its paper's own.")
    network: nn.Module = _located(row.preset)(**arguments)
    return network


def _located(path: str) -> Any:  # noqa: ANN401 (a class or a function; its arguments are the caller's contract)
    found = pydoc.locate(path)
    assert found is not None, path
    return found
