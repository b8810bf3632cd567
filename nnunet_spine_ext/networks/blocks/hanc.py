"""The link of paper 000 ("HANCBLOCK"): compare every voxel with neighbourhoods of several thicknesses.

From a = expand(x), nine maps: for every thickness n (3, 5, 7 slices) a convolution, the maximum and the mean over the
n x 3 x 3 neighbourhood. A pointwise convolution of their concatenation comes back to x's width; the result is
(x + that) / sqrt 2.

The concatenation is never made. The pointwise convolution is linear, so it is applied to each map with its own slice of
the weight and the results are added up. The six pooled maps are cheap, so backward computes them again instead of
keeping them (and the 8-byte indices of max-pooling) from forward. Equality with the literal form is tested in float64.

Two forms. `separable` (default): depthwise convolutions, which together with the poolings separate into one pass in the
plane, shared by all thicknesses, and one rod through it. `dense`: full convolutions, as in the paper's code.

What the paper's code does differently: its mean pooling raises when the volume has fewer slices than the thickest
window, and darkens the border (see `pooling`); its norm has one weight per voxel.

Axes: B batch, C channels, E = C x expansion, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape, same_padding
from nnunet_spine_ext.networks.blocks.depthwise import PlaneDepthwise, RodDepthwise
from nnunet_spine_ext.networks.blocks.layers import INV_SQRT2, ConvNormAct, Layers, NormAct
from nnunet_spine_ext.networks.blocks.pooling import box_max, box_mean, channels_first
from nnunet_spine_ext.networks.blocks.recompute import has_state, recomputed


class HANCLink(nn.Module):
    """Exchange between slices in a skip connection, C channels to C channels.

    The input channels of `mix` are ordered as in the paper: convolutions of every thickness, maxima, means.
    """

    def __init__(
        self,
        channels: int,
        *,
        layers: Layers,
        form: Literal["separable", "dense"] = "separable",
        thickness: Sequence[int] = (3, 5, 7),
        expansion: int = 1,
        recompute: bool = True,
    ) -> None:
        super().__init__()
        inner = channels * expansion
        windows = [layers.axes.window(n) for n in thickness]
        self.flats, self.rods = _distinct_flats(windows)
        if form == "separable":
            self.expand = ConvNormAct(channels, inner, layers.axes.space(1), layers=layers)
            self.planes = nn.ModuleList(_depthwise(inner, flat, bias=False) for flat in self.flats)
            self.branches = nn.ModuleList(_rod_branch(inner, rod, layers=layers) for _, rod in self.rods)
        else:
            self.expand = ConvNormAct(channels, inner, layers.axes.plane(3), layers=layers)
            self.planes = nn.ModuleList(nn.Identity() for _ in self.flats)
            self.branches = nn.ModuleList(ConvNormAct(inner, inner, window, layers=layers) for window in windows)
        self.mix = layers.pointwise(3 * len(windows) * inner, channels)
        self.recompute = recompute
        # Running statistics and dropout forbid a second run, and dense convolutions are too dear for one.
        self.cheap_branches = form == "separable" and not has_state(self.branches)
        self.again_expanded = not has_state(self.expand)

    def forward(self, x: Tensor) -> Tensor:
        """Return the link's output for x (B, C, D, H, W) or (B, C, H, W)."""
        conv, finish = self.expand
        raw = conv(x)
        recompute = self.recompute and self.training
        if not (recompute and self.again_expanded):
            raw, finish = finish(raw), nn.Identity()
        convolved = recomputed(lambda a: self._mix_convolved(finish(a)), raw, when=recompute and self.cheap_branches)
        pooled = recomputed(lambda a: self._mix_pooled(finish(a)), raw, when=recompute)
        return (x + convolved + pooled) * INV_SQRT2

    def _mix_convolved(self, a: Tensor) -> Tensor:
        """Return the mix of the convolved maps of a (B, E, D, H, W)."""
        total: Tensor | None = None
        flat, flat_index = a, -1
        for (index, _), branch, weight in zip(self.rods, self.branches, self._weights(), strict=False):
            if index != flat_index:
                flat, flat_index = self.planes[index](a), index
            # As matrices for every sample: `matmul` would copy each map to put its channels last.
            matrix, maps = weight.expand(len(a), -1, -1), branch(flat).flatten(2)
            total = torch.bmm(matrix, maps) if total is None else torch.baddbmm(total, matrix, maps)
        assert total is not None
        return total.reshape(*total.shape[:2], *a.shape[2:])

    def _mix_pooled(self, a: Tensor) -> Tensor:
        """Return the mix of the pooled maps of a (B, E, D, H, W), with the bias of `mix`."""
        a = a.movedim(1, -1).contiguous()
        total = self.mix.bias
        assert total is not None
        weights = iter(self._weights()[len(self.rods) :])
        for pool in (box_max, box_mean):
            flat, flat_index = a, -1
            for index, rod in self.rods:
                if index != flat_index:
                    flat, flat_index = pool(a, self.flats[index]), index
                total = torch.addmm(total, pool(flat, rod).flatten(0, -2), next(weights).t())
        return channels_first(total.reshape(*a.shape[:-1], -1))

    def _weights(self) -> tuple[Tensor, ...]:
        """Return the slices of the weight of `mix` that belong to the nine maps, each (C, E)."""
        return self.mix.weight.flatten(1).chunk(3 * len(self.rods), dim=1)


def _distinct_flats(windows: Sequence[Shape]) -> tuple[list[Shape], list[tuple[int, Shape]]]:
    """Split each window into its flat part in the plane and its rod through it.

    Returns:
        The distinct flat parts, and for each window the index of its flat part and its rod. With a through-plane axis
        all windows share the flat part (1, 3, 3).
    """
    flats: list[Shape] = []
    rods: list[tuple[int, Shape]] = []
    for window in windows:
        flat, rod = ((1, *window[1:]), (window[0], 1, 1)) if len(window) == 3 else (window, (1, 1))
        if flat not in flats:
            flats.append(flat)
        rods.append((flats.index(flat), rod))
    return flats, rods


def _depthwise(channels: int, flat: Shape, *, bias: bool) -> nn.Module:
    if len(flat) == 3:
        return PlaneDepthwise(channels, flat, bias=bias)
    return nn.Conv2d(channels, channels, flat, padding=same_padding(flat), groups=channels, bias=bias)  # type: ignore[arg-type]


def _rod_branch(channels: int, rod: Shape, *, layers: Layers) -> nn.Module:
    finish = NormAct(channels, layers=layers)
    if len(rod) == 2:
        return finish
    return nn.Sequential(RodDepthwise(channels, rod, bias=layers.conv_bias), finish)
