"""The skip connections of ACC-UNet: a path of residual convolutions, then levels that read one another ("MLFC").

For level i, all levels are brought to its resolution (mean, or repetition), a 1x1 convolution of all of them side by
side gives what the levels say together, and a second one joins that to the level's own map. Both convolutions are sums
of convolutions of their parts: those of coarser levels run before the repetition, those of finer ones after the mean,
so the maps of all levels side by side (1440 channels on eight stages) never exist. Equality is tested in float64.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.acc_hanc import pooled
from nnunet_spine_ext.networks.blocks.acc_squeeze import ACCSqueeze
from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.layers import ConvNormAct, Layers, NormAct
from nnunet_spine_ext.networks.blocks.parts_conv import PartsConv
from nnunet_spine_ext.networks.blocks.recompute import has_state, recomputed


class ResPath(nn.Module):
    """x ← x + squeeze(convolution(x)), `length` times; then norm → act → norm, as published."""

    def __init__(self, channels: int, kernel: Shape, *, length: int, layers: Layers, recompute: bool = True) -> None:
        super().__init__()
        self.units = nn.ModuleList(
            nn.Sequential(ConvNormAct(channels, channels, kernel, layers=layers), ACCSqueeze(channels, layers=layers))
            for _ in range(length)
        )
        self.finish = nn.Sequential(layers.norm(channels), layers.act(), layers.norm(channels))
        self.recompute = recompute and not has_state(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the path's output for x (B, C, ...)."""
        again = self.recompute and self.training
        for unit in self.units:
            x = x + recomputed(unit, x, when=again)
        return recomputed(self.finish, x, when=again)


class LevelCompilation(nn.Module):
    """One pass of MLFC over all levels.

    Args:
        widths: of the levels, highest resolution first.
        strides: strides[i] leads from level i to level i + 1.
        layers: norm, nonlinearity, dropout, bias.
        recompute: keep the levels alone for backward.
    """

    def __init__(
        self, widths: Sequence[int], *, strides: Sequence[Shape], layers: Layers, recompute: bool = True
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.levels = nn.ModuleList(_Level(widths, i, layers=layers) for i in range(len(widths)))
        self.recompute = recompute and not has_state(self)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the levels (B, widths[i], ...), each with what all of them say."""
        fine: list[Tensor] = []  # the levels above the present one, at its resolution
        found = []
        for i, level in enumerate(self.levels):
            seen = [*fine, *levels[i:]]
            found.append(recomputed(level, *seen, when=self.recompute and self.training))
            if i < len(self.strides):
                fine = [pooled(x, self.strides[i]) for x in [*fine, levels[i]]]
        return found


class _Level(nn.Module):
    def __init__(self, widths: Sequence[int], index: int, *, layers: Layers) -> None:
        super().__init__()
        width, self.index, self.widths = widths[index], index, list(widths)
        self.gather = layers.conv(sum(widths), width, layers.axes.space(1), bias=layers.conv_bias)
        self.gathered = nn.Sequential(*_unit(width, layers), *_norm_act(width, layers))
        self.merge = PartsConv([width, width], width, layers.axes.space(1), layers=layers, bias=layers.conv_bias)
        self.merged = nn.Sequential(*_unit(width, layers))
        self.finish = nn.Sequential(*_norm_act(width, layers), ACCSqueeze(width, layers=layers))

    def forward(self, *levels: Tensor) -> Tensor:
        """Return the level for all levels, the finer ones at its own resolution already."""
        own = levels[self.index]
        together = self.gathered(self._gather(levels))
        result: Tensor = self.finish(self.merged(self.merge([together, own])) + own)
        return result

    def _gather(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the 1x1 convolution of all levels at the resolution of this one."""
        convolve = F.conv3d if levels[0].dim() == 5 else F.conv2d
        weights = torch.split(self.gather.weight, self.widths, dim=1)
        coarse: Tensor | None = None
        for j in range(len(levels) - 1, self.index, -1):
            part = convolve(levels[j], weights[j])
            coarse = part if coarse is None else part + F.interpolate(coarse, size=part.shape[2:], mode="nearest")
        total = convolve(levels[self.index], weights[self.index], self.gather.bias)
        for j in range(self.index):
            total = total + convolve(levels[j], weights[j])
        return total if coarse is None else total + F.interpolate(coarse, size=total.shape[2:], mode="nearest")


def _unit(width: int, layers: Layers) -> list[nn.Module]:
    """Return what follows a convolution: dropout, norm and act, then the squeeze."""
    return [NormAct(width, layers=layers), ACCSqueeze(width, layers=layers)]


def _norm_act(width: int, layers: Layers) -> list[nn.Module]:
    return [layers.norm(width), layers.act()]
