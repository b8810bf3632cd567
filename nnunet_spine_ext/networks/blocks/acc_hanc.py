"""The block of ACC-UNet: compare every voxel with the mean and the maximum of its neighbourhoods ("HANC").

    x ─ 1x1 → I = C·expand ─ depthwise ─ {itself, means, maxima over windows of 2, 4, … voxels} ─ 1x1 → C ─ + x
      → norm → 1x1 → C' → squeeze and excitation                       (norm and act after each convolution)

Windows tile the map: a pooled value is repeated over its window. They grow by the plan's next strides, so they are
those of the stages below, and divide the map whenever the network takes the image.

A 1x1 convolution may change places with pooling's mean and with repetition, and it is a sum over its input maps. So
each of the 2k - 1 maps is convolved at its own resolution with its own part of the weight, and the results are added
from the coarsest up. The maps are never repeated nor put side by side: (2k - 1)·I channels at full resolution is what
makes the published code "computationally expensive due to concat operations". Equality is tested in float64.

In training the whole block is computed again in backward instead of kept, unless it has dropout or running statistics;
then only its poolings are.

Axes: B batch, C channels, I = C·expand, D H W = spatial axes 0 1 2 of the plan.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.acc_squeeze import ACCSqueeze
from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.dilated import depthwise_conv
from nnunet_spine_ext.networks.blocks.layers import ConvNormAct, Layers, NormAct
from nnunet_spine_ext.networks.blocks.recompute import has_state, recomputed


class NeighbourhoodMix(nn.Module):
    """1x1 convolution of a map and of its means and maxima over growing windows, each repeated over its window.

    Args:
        inputs: channels of the map.
        outputs: channels of the result.
        strides: window j is strides[0] · … · strides[j]; none: a plain 1x1 convolution.
        layers: builds the convolution.
        recompute: compute the poolings again in backward.
    """

    def __init__(
        self, inputs: int, outputs: int, *, strides: Sequence[Shape], layers: Layers, recompute: bool = True
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        # Its input: the map, the means from the smallest window on, the maxima likewise.
        self.mix = layers.pointwise((2 * len(self.strides) + 1) * inputs, outputs)
        self.recompute = recompute

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution (B, outputs, ...) for x (B, inputs, ...)."""
        convolve = F.conv3d if x.dim() == 5 else F.conv2d
        total = convolve(x, self._weights()[0], self.mix.bias)
        if self.strides:
            context = recomputed(self._context, x, when=self.recompute and self.training)
            total = total + F.interpolate(context, size=total.shape[2:], mode="nearest")
        return total

    def _context(self, x: Tensor) -> Tensor:
        """Return the convolution of all means and maxima, at the resolution of the smallest window."""
        convolve, count = F.conv3d if x.dim() == 5 else F.conv2d, len(self.strides)
        weights = self._weights()[1:]
        means, maxima = _pyramid(x, self.strides, maximum=False), _pyramid(x, self.strides, maximum=True)
        total: Tensor | None = None
        for j in range(count - 1, -1, -1):
            part = convolve(means[j], weights[j]) + convolve(maxima[j], weights[count + j])
            total = part if total is None else part + F.interpolate(total, size=part.shape[2:], mode="nearest")
        assert total is not None
        return total

    def _weights(self) -> tuple[Tensor, ...]:
        return self.mix.weight.chunk(2 * len(self.strides) + 1, dim=1)


def _pyramid(x: Tensor, strides: Sequence[Shape], *, maximum: bool) -> list[Tensor]:
    """Return the means or maxima of x over windows that grow by each stride; they divide the map."""
    found = []
    for stride in strides:
        x = pooled(x, stride, maximum=maximum)
        found.append(x)
    return found


def pooled(x: Tensor, window: Shape, *, maximum: bool = False) -> Tensor:
    """Return the mean or maximum of x (B, C, ...) over each tile of `window`."""
    if x.dim() == 5:
        return F.max_pool3d(x, window) if maximum else F.avg_pool3d(x, window)
    return F.max_pool2d(x, window) if maximum else F.avg_pool2d(x, window)


class HANCBlock(nn.Module):
    """The block, at one resolution.

    Args:
        inputs: channels.
        outputs: channels of the result.
        kernel: of the depthwise convolution.
        strides: of the neighbourhoods, see `NeighbourhoodMix`.
        expand: I over C.
        layers: norm, nonlinearity, dropout, bias.
        recompute: keep the input alone for backward.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Shape,
        *,
        strides: Sequence[Shape],
        expand: int,
        layers: Layers,
        recompute: bool = True,
    ) -> None:
        super().__init__()
        inner, point = inputs * expand, layers.axes.space(1)
        self.expand = ConvNormAct(inputs, inner, point, layers=layers)
        self.depthwise = nn.Sequential(
            depthwise_conv(inner, kernel, bias=layers.conv_bias), NormAct(inner, layers=layers)
        )
        self.mix = NeighbourhoodMix(inner, inputs, strides=strides, layers=layers, recompute=recompute)
        self.mixed = NormAct(inputs, layers=layers)
        self.norm = layers.norm(inputs)
        self.narrow = ConvNormAct(inputs, outputs, point, layers=layers)
        self.weigh = ACCSqueeze(outputs, layers=layers)
        self.recompute = recompute and not has_state(self)
        self.mix.recompute = recompute and not self.recompute

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (B, outputs, ...) for x (B, inputs, ...)."""
        return recomputed(self._block, x, when=self.recompute and self.training)

    def _block(self, x: Tensor) -> Tensor:
        y = self.mixed(self.mix(self.depthwise(self.expand(x))))
        result: Tensor = self.weigh(self.narrow(self.norm(y + x)))
        return result
