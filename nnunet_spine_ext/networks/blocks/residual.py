"""The 3D residual block of paper 000: a convolution in the plane, then one in space.

Axes: B batch, C channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.layers import INV_SQRT2, ConvNormAct, Layers
from nnunet_spine_ext.networks.blocks.recompute import RecomputedBlock, has_state


class ResBlock(RecomputedBlock):
    """(main + shortcut) / sqrt 2; with `stride` it is the network's down-sampling.

    main = conv 1x3x3 (strided) → norm → act → conv 3x3x3 → norm → act;
    shortcut = 1x1x1 conv if the width changes → max-pooling if strided.

    The paper's code builds the shortcut convolution always and uses it only where the width changes; here it exists
    only there. The strided convolution covers 3 voxels on each strided axis (see `Axes.plane`).
    """

    def __init__(
        self, inputs: int, outputs: int, *, layers: Layers, stride: Shape | None = None, recompute: bool = True
    ) -> None:
        super().__init__()
        axes = layers.axes
        self.main = nn.Sequential(
            ConvNormAct(inputs, outputs, axes.plane(3, stride=stride), layers=layers, stride=stride),
            ConvNormAct(outputs, outputs, axes.space(3), layers=layers),
        )
        self.shortcut = nn.Sequential()
        if inputs != outputs:
            self.shortcut.append(layers.pointwise(inputs, outputs))
        if stride is not None and max(stride) > 1:
            pool = nn.MaxPool3d if axes.dims == 3 else nn.MaxPool2d
            self.shortcut.append(pool(stride, stride))
        self.recompute = recompute and not has_state(self)

    def compute(self, x: Tensor) -> Tensor:
        """Return the block's output for x (B, C, D, H, W) or (B, C, H, W)."""
        result: Tensor = (self.main(x) + self.shortcut(x)) * INV_SQRT2
        return result
