"""The options of SpineHybrid: one frozen dataclass, which a plans file can hold as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from nnunet_spine_ext.networks.options import NetworkOptions, is_count


@dataclass(frozen=True, kw_only=True)
class HybridOptions(NetworkOptions):
    """What SpineHybrid is made of. The four networks that paper 000 compares are `plane_block` x `link_block`.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    odd: ClassVar[frozenset[str]] = frozenset({"plane_kernel", "stem_kernel"})

    plane_block: Literal["ux", "res"] = "ux"
    """The block of the encoder stages, which works in the plane."""
    link_block: Literal["hanc", "res", "identity"] = "hanc"
    """The block of the skip connections and the bottleneck, which works across slices."""

    plane_kernel: int = 7
    """Edge of the UX block's kernel in the plane, in voxels."""
    ux_variant: Literal["depthwise", "dense"] = "depthwise"
    """`depthwise`: the UX-Net block that the paper describes; `dense`: what its code computes."""
    ux_second_conv: Literal["2d", "3d"] = "2d"
    """Kernel of the dense variant's second convolution: 1xkxk, or 3xkxk as in the pair the paper's code never calls."""
    layer_scale: float = 1e-6
    """Initial factor of the depthwise UX block's branch: the block begins as the identity (UX-Net)."""

    hanc_form: Literal["separable", "dense"] = "separable"
    """`dense` is the paper's; `separable` is about ten times smaller and equal in its poolings."""
    thickness: tuple[int, ...] = (3, 5, 7)
    """The link's neighbourhoods, in slices."""
    link_expand: int = 1
    """Channel expansion inside the links of the skip connections."""
    bottleneck_expand: int = 2
    """Channel expansion inside the link of the bottleneck."""

    stem: Literal["strided", "fullres"] = "strided"
    """`strided`: the first convolution strides, no encoder stage and no skip at full resolution (the paper)."""
    stem_kernel: int = 7
    """Edge of the first convolution in the plane; 27 in the paper."""
    stem_norm: bool = True
    """Norm and nonlinearity after the first convolution; the paper has none."""

    norm: Literal["plan", "group1"] = "plan"
    """The plan's norm, or GroupNorm with one group: the statistics of the paper's LayerNorm, one weight per channel."""
    activation: Literal["plan", "gelu"] = "plan"
    """The plan's nonlinearity, or the paper's GELU. The depthwise UX block always has GELU inside."""
    width: int | None = None
    """None: the plan's features; h: the paper's h, h, 2h, 4h, 8h, 16h, 16h … (the paper's code has h = 64)."""

    force_hybrid: bool = False
    """In a 3D plan without a through-plane axis, take axis 0 instead of treating all axes alike."""
    recompute: bool = True
    """Compute again in backward what lies between convolutions instead of keeping it; results are equal."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "thickness", tuple(self.thickness))
        super().__post_init__()

    def wrong_values(self) -> list[str]:
        """Return a message for each list and each pair of options that is not allowed."""
        found = []
        if not self.thickness or not all(is_count(n, odd=True) for n in self.thickness):
            found.append(f"thickness is {self.thickness}, expected odd positive numbers of slices")
        if self.ux_second_conv == "3d" and (self.plane_block, self.ux_variant) != ("ux", "dense"):
            found.append("ux_second_conv='3d' has an effect only with plane_block='ux' and ux_variant='dense'")
        return found


PAPER_OPTIONS = HybridOptions(
    ux_variant="dense", hanc_form="dense", stem_kernel=27, stem_norm=False, norm="group1", activation="gelu", width=64
)
"""The paper's own network, with the defects mended: dense convolutions, its first convolution, its widths."""
