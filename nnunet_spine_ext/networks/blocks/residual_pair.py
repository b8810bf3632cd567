"""The residual block of UNETR and its relatives: two convolutions and a shortcut.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan.
"""

from __future__ import annotations

from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.layers import ConvNormAct, Layers
from nnunet_spine_ext.networks.blocks.recompute import RecomputedBlock, has_state


class ResidualPair(RecomputedBlock):
    """act(norm(conv(act(norm(conv(x))))) + shortcut), the shortcut 1x1 and norm where the width changes, else x."""

    def __init__(self, inputs: int, outputs: int, kernel: Shape, *, layers: Layers, recompute: bool = True) -> None:
        super().__init__()
        layers = layers.keeping_inputs()
        self.main = nn.Sequential(
            ConvNormAct(inputs, outputs, kernel, layers=layers),
            layers.conv(outputs, outputs, kernel, bias=layers.conv_bias),
            layers.dropout(),
            layers.norm(outputs),
        )
        self.shortcut = nn.Sequential()
        if inputs != outputs:
            self.shortcut.append(layers.conv(inputs, outputs, layers.axes.space(1), bias=layers.conv_bias))
            self.shortcut.append(layers.norm(outputs))
        self.act = layers.act()
        self.recompute = recompute and not has_state(self)

    def compute(self, x: Tensor) -> Tensor:
        """Return the block's output for x (B, C, ...)."""
        result: Tensor = self.act(self.main(x) + self.shortcut(x))
        return result
