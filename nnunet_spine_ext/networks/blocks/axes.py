"""Which axes a kernel covers: the slice plane, or all of space.

Axes: D H W = spatial axes 0 1 2 in the network's own order. In a thick-slice network D is the through-plane axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Axes:
    """The spatial axes of a network.

    Three cases: thick slices (3D, D runs through the planes), isotropic 3D, and 2D. In the last two there is no
    through-plane axis, so "in the plane" means every axis.
    """

    dims: int
    has_through_plane: bool

    def __post_init__(self) -> None:
        assert self.dims in (2, 3)
        assert self.dims == 3 or not self.has_through_plane

    def plane(self, size: int, *, stride: Sequence[int] | None = None) -> Shape:
        """Return the kernel that covers `size` voxels in the plane and 1 through it.

        An axis that the same block strides by more than 1 gets at least 3: a kernel of 1 with stride 2 would discard
        every second slice unseen.
        """
        kernel = (1, size, size) if self.has_through_plane else (size,) * self.dims
        if stride is None:
            return kernel
        return tuple(max(k, 3) if s > 1 else k for k, s in zip(kernel, stride, strict=True))

    def space(self, size: int = 3) -> Shape:
        """Return the kernel that covers `size` voxels on every axis."""
        return (size,) * self.dims

    def window(self, thickness: int) -> Shape:
        """Return the neighbourhood of one thickness: 3x3 in the plane by `thickness` slices (paper 000, section 3).

        Without a through-plane axis the plane would be all there is, and the thicknesses would not differ; there the
        neighbourhood is a square or a cube of edge `thickness`.
        """
        return (thickness, 3, 3) if self.has_through_plane else (thickness,) * self.dims


def same_padding(kernel: Sequence[int]) -> Shape:
    """Return the padding that keeps the size (odd kernels, stride 1)."""
    return tuple(k // 2 for k in kernel)
