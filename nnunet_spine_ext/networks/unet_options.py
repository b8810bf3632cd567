"""The options of SpineUNet: one frozen dataclass, which a plans file can hold as JSON, and the papers' own choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from nnunet_spine_ext.networks.options import is_count
from nnunet_spine_ext.networks.plan_shape import PerStage
from nnunet_spine_ext.networks.planned_options import PlannedOptions


@dataclass(frozen=True, kw_only=True)
class UNetOptions(PlannedOptions):
    """What SpineUNet is made of; the defaults are the classical U-Net on the layers of the plan.

    Each idea of a paper is one value of one option, and the plain value beside it is what the idea is measured against.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    without_effect: ClassVar[Mapping[str, str]] = {"patch_size": "the dilations of CIE suit a map of any size"}

    block: Literal["double", "spconv", "conv_module"] = "double"
    """Of a stage: the plan's convolutions; SPConv in their place; or CIE → convolutions → MFE (not at the bottom)."""
    skip: Literal["plain", "residual_attention", "attention_gate"] = "plain"
    """What a skip connection passes on: all of it; RA (paper 002); or the gate of Attention U-Net."""
    gate: Literal["additive", "additive-grid"] = "additive"
    """Of the attention gate: on the grid of the skip, by the up-sampled feature (paper 003); or on the coarser grid, by
    the feature before up-sampling, with a strided 'theta' and a convolution behind it (Oktay et al. 2018)."""
    up: Literal["transposed", "transposed_same", "linear", "nearest_conv"] = "transposed"
    """Up-sampling: a transposed convolution to the width of the skip; one that keeps its width; bi- or trilinear, which
    keeps it as well; or nearest neighbour and a convolution. Where up-sampling keeps the width, the convolutions of a
    stage narrow to that of the next."""
    up_act: bool = False
    """The nonlinearity after a transposed convolution (paper 001's UNet)."""
    mfe_fuse: Literal["single", "full"] = "single"
    """What MFE adds to its input: one map for all channels (what paper 002 counts), or one for each (what it says)."""
    features: tuple[int, ...] | None = None
    """None: the plan's widths; else one for each stage, the bottom last."""

    def __post_init__(self) -> None:
        if self.features is not None:
            object.__setattr__(self, "features", tuple(self.features))
        super().__post_init__()

    def wrong_values(self) -> list[str]:
        """Return a message for each number, and each pair of options, that is not allowed."""
        found = super().wrong_values()
        if self.features is not None and (len(self.features) < 2 or not all(map(is_count, self.features))):
            found.append(f"features is {self.features}, expected a positive width for each of at least 2 stages")
        without_effect = (
            ("up_act=True", self.up_act and not self.up.startswith("transposed"), "up='transposed…'"),
            (f"gate={self.gate!r}", self.gate != "additive" and self.skip != "attention_gate", "skip='attention_gate'"),
            (f"mfe_fuse={self.mfe_fuse!r}", self.mfe_fuse != "single" and self.block != "conv_module",
             "block='conv_module'"),
        )  # fmt: skip
        return found + [f"{what} has an effect only with {where}" for what, wrong, where in without_effect if wrong]

    def widths(self, planned: PerStage) -> PerStage:
        """Return the widths of the stages."""
        return planned if self.features is None else self.features

    @property
    def narrows_in_convs(self) -> bool:
        """Whether a decoder stage's convolutions, not its up-sampling, lead to the next width."""
        return self.up in ("transposed_same", "linear")


_FOUR_POOLINGS = (64, 128, 256, 512, 1024)
_FOUR_POOLINGS_512 = (64, 128, 256, 512, 512)

UNET_001_PAPER = UNetOptions(
    up_act=True, heads="full", norm="none", activation="relu", bias="yes", features=_FOUR_POOLINGS
)
"""Paper 001's UNet (its figure 3): no norm, ReLU after the transposed convolutions too."""
UNET_BN_001_PAPER = UNetOptions(heads="full", norm="batch", activation="relu", bias="yes", features=_FOUR_POOLINGS[:4])
"""Paper 001's UNet_BN (its figure 4): BatchNorm, one stage less."""

CT_UNET_PAPER = UNetOptions(heads="full", norm="batch", activation="relu", bias="no", features=_FOUR_POOLINGS)
"""Paper 002's versions 1 and 2."""
CT_UNET_SPCONV_PAPER = replace(CT_UNET_PAPER, block="spconv", bias="yes")
"""Paper 002's version 3. The bias is that of SPConv's redundant half, as published; no other convolution has one."""
CT_UNET_RA_PAPER = replace(CT_UNET_PAPER, skip="residual_attention")
"""Paper 002's version 4, with its attention weights registered."""
CT_UNET_CONV_MODULE_PAPER = replace(CT_UNET_RA_PAPER, block="conv_module")
"""Paper 002's version 5, with its attention weights registered."""

UNET_003_PAPER = replace(CT_UNET_PAPER, up="linear", bias="yes", features=_FOUR_POOLINGS_512)
"""Paper 003's U-Net: bilinear up-sampling, 512 at the bottom."""
ATTENTION_UNET_PAPER = replace(CT_UNET_PAPER, up="nearest_conv", skip="attention_gate", bias="yes")
"""Paper 003's Attention U-Net."""

UNET_2D_004_PAPER = replace(CT_UNET_PAPER, up="transposed_same", bias="yes", features=_FOUR_POOLINGS_512)
"""Paper 004's U-Net-2D, read as four poolings at 64, 128, 256, 512 and a bottom of 512 (see `rows/unets.py`)."""
UNET_3D_004_PAPER = UNET_2D_004_PAPER
"""Paper 004's U-Net-3D: the same in 3D."""
