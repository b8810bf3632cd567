"""Dense blocks (DenseNet, Huang et al. 2017) that keep the maps they make and no concatenation of them.

Layer i sees everything before it:  x_i = conv3x3(act(norm([x, x_1, …, x_(i-1)])))

The concatenation, its norm and its activation are computed again in the backward pass; kept are the maps themselves,
each once, so memory grows with the number of layers instead of with its square (Pleiss et al. 2017).

Axes: B batch, C channels, H W = the axes of a slice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from nnunet_spine_ext.networks.blocks.layers import Layers
from nnunet_spine_ext.networks.blocks.recompute import recomputed


class DenseLayer(nn.Module):
    """Norm → nonlinearity → conv 3x3 → dropout, on any number of maps put together."""

    def __init__(self, inputs: int, outputs: int, *, layers: Layers) -> None:
        super().__init__()
        kernel = layers.axes.plane(3)
        self.norm = layers.norm(inputs)
        self.act = layers.act()
        self.conv = layers.conv(inputs, outputs, kernel, bias=layers.conv_bias)
        self.dropout = layers.dropout()

    def forward(self, *maps: Tensor) -> Tensor:
        """Return (B, C_out, H, W); maps of another size than the last one's are brought to it (nearest neighbour)."""
        size = maps[-1].shape[2:]
        resized = [x if x.shape[2:] == size else F.interpolate(x, size=size, mode="nearest-exact") for x in maps]
        # Also of a single map, because the nonlinearity may work in place.
        together = torch.cat(resized, dim=1)
        result: Tensor = self.dropout(self.conv(self.act(self.norm(together))))
        return result


class DenseBlock(nn.Module):
    """`depth` layers that together make `outputs` new channels; the block's inputs are not among them.

    Args:
        inputs: channels of all inputs together.
        outputs: new channels, shared out as evenly as they divide.
        layers: what the plan says about layers.
        depth: layers; one is a plain convolution unit, the variant without dense connections.
        recompute: compute concatenation, norm and activation again in the backward pass (not with dropout).
    """

    def __init__(self, inputs: int, outputs: int, *, layers: Layers, depth: int, recompute: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for width in shares(outputs, depth):
            self.layers.append(DenseLayer(inputs, width, layers=layers))
            inputs += width
        self.recompute = recompute and not any(isinstance(m, _DropoutNd) for m in self.modules())

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        """Return the new maps, one for each layer, in the size of the last input."""
        new: list[Tensor] = []
        for layer in self.layers:
            again = self.recompute and self.training
            new.append(recomputed(layer, *inputs, *new, state=layer, when=again))
        return new


def shares(total: int, parts: int) -> Sequence[int]:
    """Return `total` in at most `parts` positive parts as equal as they can be, larger ones first."""
    parts = min(parts, total)
    return [total // parts + (i < total % parts) for i in range(parts)]
