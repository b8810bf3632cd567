"""The options of SpineUXNet: one frozen dataclass, which a plans file can hold as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from nnunet_spine_ext.networks.planned_options import NOTHING_DILATED, PlannedOptions


@dataclass(frozen=True, kw_only=True)
class UXNetOptions(PlannedOptions):
    """What SpineUXNet is made of. `block` switches its idea off, for measuring what it adds.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    without_effect: ClassVar[Mapping[str, str]] = NOTHING_DILATED
    odd: ClassVar[frozenset[str]] = frozenset({"kernel"})

    block: Literal["ux", "conv", "identity"] = "ux"
    """Of an encoder stage: the large-kernel block; nnU-Net's convolution in a residual sum; or nothing, which leaves
    the strided convolutions and the residual blocks behind each stage."""
    kernel: int = 7
    """Edge of the large kernel, in voxels, on the axes on which the plan's kernel is more than 1."""
    layer_scale: float = 1e-6
    """Initial factor of the block's branch: the block begins as the identity."""
    recompute: bool = True
    """Compute again in backward what lies between convolutions instead of keeping it; results are equal."""
