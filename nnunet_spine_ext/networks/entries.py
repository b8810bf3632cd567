"""What a row of the registry says about a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


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
    family: Literal["u-shape", "slice"]
    """`u-shape`: planned by the words of a U-Net plan, `network` takes them and `options`. `slice`: a 2D network with
    stages of its own (`slice_network.SliceNetwork`), `network` takes `patch_size` (of a slice) and `options`."""
    paper: str
    """Its title."""
    cite: str
    """The paper in a word or two, for tables."""
    summary: str
    dims: tuple[int, ...]
    """Of the network itself. One of 2 alone takes 3D patches slice by slice (`slices.SliceWise`)."""
    network: str
    """Dotted path of the class."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What makes this row different from the class's defaults, in JSON form. "slices" holds those of `SliceWise`."""
    preset: str | None = None
    """Dotted path of a function that builds the paper's own network."""
    oracles: tuple[ParameterOracle, ...] = ()
    trainers: tuple[str, ...] = ()
    supervision: Literal["scales", "full"] = "scales"
    """Of a u-shape: outputs at the scales of the plan, or all at full resolution (nested networks)."""
