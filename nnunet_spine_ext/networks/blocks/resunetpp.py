"""The blocks of ResUNet++ (Jha et al. 2019), in its two published forms.

 - `official`: Jha et al.; squeeze and excitation after each residual block, 1x1 shortcuts, four dilated convolutions
   added up, an attention map for each channel, nearest-neighbour up-sampling.
 - `paper003`: the variant whose size and operations paper 003 reports; squeeze and excitation on the input of each
   encoder stage, 3x3 shortcuts, three dilated convolutions concatenated, one attention map for all channels, linear
   up-sampling.

The residual blocks normalise first (norm → act → convolution), so a sum is not normalised where it is made.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.aspp import mixed
from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.dilated import dilated_conv
from nnunet_spine_ext.networks.blocks.layers import Layers, NormAct

Form = Literal["official", "paper003"]


class PreActConv(nn.Sequential):
    """Dropout → norm → nonlinearity → convolution.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: odd.
        layers: of the plan.
        stride: of the convolution.
        normed: whether a norm follows the result, which cancels a bias.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Shape, *, layers: Layers, stride: Shape | None = None, normed: bool
    ) -> None:
        bias = layers.conv_bias if normed else True
        super().__init__(
            NormAct(inputs, layers=layers.keeping_inputs()),
            layers.conv(inputs, outputs, kernel, stride=stride, bias=bias),
        )


class PreActBlock(nn.Module):
    """Two `PreActConv` + a shortcut (convolution → norm); with `stride` it is the down-sampling.

    Args:
        inputs: channels.
        outputs: channels.
        kernels: of the first convolution, which may stride, and of the second.
        layers: of the plan.
        form: of the shortcut.
        stride: of the first convolution and the shortcut.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernels: tuple[Shape, Shape],
        *,
        layers: Layers,
        form: Form,
        stride: Shape | None = None,
    ) -> None:
        super().__init__()
        first, second = kernels
        self.main = nn.Sequential(
            PreActConv(inputs, outputs, first, layers=layers, stride=stride, normed=True),
            PreActConv(outputs, outputs, second, layers=layers, normed=False),
        )
        kernel = first if form == "paper003" else (1,) * len(first)
        self.shortcut = nn.Sequential(
            layers.conv(inputs, outputs, kernel, stride=stride, bias=layers.conv_bias), layers.norm(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for x (B, C, ...)."""
        result: Tensor = self.main(x) + self.shortcut(x)
        return result


class Stem(nn.Module):
    """The first block: as a residual block, but its input, the image, is not normalised again."""

    def __init__(self, inputs: int, outputs: int, kernel: Shape, *, layers: Layers, form: Form) -> None:
        super().__init__()
        self.main = nn.Sequential(
            layers.conv(inputs, outputs, kernel, bias=layers.conv_bias),
            PreActConv(outputs, outputs, kernel, layers=layers, normed=False),
        )
        if form == "paper003":
            self.shortcut = nn.Sequential(layers.conv(inputs, outputs, kernel))
            return
        pointwise = layers.conv(inputs, outputs, (1,) * len(kernel), bias=layers.conv_bias)
        self.shortcut = nn.Sequential(pointwise, layers.norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of the image x (B, C, ...)."""
        result: Tensor = self.main(x) + self.shortcut(x)
        return result


class SummedASPP(nn.Module):
    """Dilated convolutions side by side, then a 1x1 convolution: of their sum, or (paper 003) of their concatenation.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: 3 on the axes that the dilated convolutions look along, 1 on the others.
        dilations: one for each convolution, per axis.
        layers: of the plan.
        form: `official`: convolution → norm, summed; `paper003`: convolution → act → norm, concatenated.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: Shape, dilations: Sequence[Shape], layers: Layers, form: Form
    ) -> None:
        super().__init__()
        self.summed = form == "official"
        self.lines = nn.ModuleList()
        for dilation in dilations:
            # A norm straight after the convolution cancels a bias; one after the nonlinearity does not.
            bias = layers.conv_bias if self.summed else True
            conv = dilated_conv(inputs, outputs, kernel, dilation=dilation, bias=bias)
            between = [] if self.summed else [layers.act()]
            self.lines.append(nn.Sequential(conv, *between, layers.norm(outputs)))
        width = outputs if self.summed else outputs * len(dilations)
        self.out = layers.pointwise(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the pyramid of x (B, C, ...)."""
        maps = [line(x) for line in self.lines]
        if not self.summed:
            return mixed(maps, self.out)
        total = maps[0]
        for one in maps[1:]:
            total = total + one
        result: Tensor = self.out(total)
        return result


class DecoderAttention(nn.Module):
    """x · conv(pool(conv(g)) + conv(x)), all convolutions with norm and nonlinearity before them; no sigmoid.

    Args:
        skip: channels of g, the encoder's feature at the next resolution.
        channels: of x, the decoder's feature.
        kernels: of the convolutions at the two resolutions: g's, then x's.
        layers: of the plan.
        pool: from g's resolution to x's.
        form: one attention map for each channel (`official`) or for all of them (`paper003`).
    """

    def __init__(
        self, skip: int, channels: int, kernels: tuple[Shape, Shape], *, layers: Layers, pool: nn.Module, form: Form
    ) -> None:
        super().__init__()
        fine, coarse = kernels
        self.of_skip = nn.Sequential(PreActConv(skip, channels, fine, layers=layers, normed=True), pool)
        self.of_features = PreActConv(channels, channels, coarse, layers=layers, normed=True)
        maps, last = (channels, coarse) if form == "official" else (1, (1,) * len(coarse))
        self.attention = PreActConv(channels, maps, last, layers=layers, normed=False)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return x (B, C, ...) weighed by what it and skip (B, C', ...) show."""
        weighed: Tensor = x * self.attention(self.of_skip(skip) + self.of_features(x))
        return weighed
