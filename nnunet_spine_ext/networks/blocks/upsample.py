"""The up-sampling block of paper 000.

Axes: B batch, C channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.layers import INV_SQRT2, ConvNormAct, Layers, NormAct
from nnunet_spine_ext.networks.blocks.recompute import RecomputedBlock, has_state


class UpBlock(RecomputedBlock):
    """(main + shortcut) / sqrt 2 at `stride` times the input's resolution.

    main = transposed conv (kernel = stride) → norm → act → `convs` x (conv 1x3x3 → norm → act);
    shortcut = 1x1x1 conv at the low resolution → nearest neighbour.
    """

    def __init__(
        self, inputs: int, outputs: int, *, layers: Layers, stride: Shape, convs: int = 1, recompute: bool = True
    ) -> None:
        super().__init__()
        kernel = layers.axes.plane(3, stride=stride)
        self.main = nn.Sequential(
            layers.transposed(inputs, outputs, stride=stride),
            NormAct(outputs, layers=layers),
            *(ConvNormAct(outputs, outputs, kernel, layers=layers) for _ in range(convs)),
        )
        self.shortcut = layers.pointwise(inputs, outputs)
        self.recompute = recompute and not has_state(self)

    def compute(self, x: Tensor) -> Tensor:
        """Return the block's output for x (B, C, D, H, W) or (B, C, H, W)."""
        main: Tensor = self.main(x)
        shortcut = F.interpolate(self.shortcut(x), size=main.shape[2:], mode="nearest-exact")
        return (main + shortcut) * INV_SQRT2
