"""DenseNet-BC (Huang et al. 2017, arXiv:1608.06993) as an encoder with dilation, which timm's has not.

Its modules carry the names of timm's and torchvision's (`conv0, norm0, denseblock1.denselayer1.norm1 …`), so published
weights fit. Unlike timm's it can keep the resolution: the pooling of a transition is left out and the 3x3 convolutions
after it are dilated instead (output stride 16: transition 3, block 4 dilated by 2; 8: transitions 2 and 3, blocks 3 and
4 dilated by 2 and 4). Norm and nonlinearity are separate modules, so that torch's conversion to SyncBatchNorm keeps
both. Each dense layer reads the concatenation of all maps before it; with `recompute`, that concatenation and what is
normalised from it are not kept for the backward pass but computed again.

Axes: B batch, C channels, H W = the axes of a slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunet_spine_ext.networks.backbones.norms import Norm, norm_layer
from nnunet_spine_ext.networks.blocks.recompute import recomputed


@dataclass(frozen=True, kw_only=True)
class DenseNetShape:
    """What tells one DenseNet from another."""

    blocks: tuple[int, int, int, int]
    """Dense layers in each block."""
    growth: int = 32
    """Channels that each dense layer adds."""

    @property
    def stem(self) -> int:
        """Channels after the first convolution."""
        return 2 * self.growth


DENSENETS: Mapping[str, DenseNetShape] = MappingProxyType(
    {
        "densenet121": DenseNetShape(blocks=(6, 12, 24, 16)),
        "densenet161": DenseNetShape(blocks=(6, 12, 36, 24), growth=48),
        "densenet169": DenseNetShape(blocks=(6, 12, 32, 32)),
        "densenet201": DenseNetShape(blocks=(6, 12, 48, 32)),
    }
)

_BOTTLENECK = 4
"""Channels between the two convolutions of a dense layer, in growths."""

_DILATIONS = MappingProxyType({32: (1, 1, 1, 1), 16: (1, 1, 1, 2), 8: (1, 1, 2, 4)})


class DenseLayer(nn.Module):
    """Norm, ReLU, 1x1 convolution, norm, ReLU, 3x3 convolution: the new channels for the maps before it."""

    def __init__(self, inputs: int, growth: int, *, dilation: int, norm: Norm, recompute: bool) -> None:
        super().__init__()
        inner = _BOTTLENECK * growth
        self.norm1 = norm_layer(norm, inputs)
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm2 = norm_layer(norm, inner)
        self.conv2 = nn.Conv2d(inner, growth, 3, padding=dilation, dilation=dilation, bias=False)
        self.recompute = recompute

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return (B, growth, H, W) for maps (B, ..., H, W) of any number."""
        inner = recomputed(self._squeezed, *maps, state=self.norm1, when=self.recompute)
        new: Tensor = self.conv2(functional.relu(self.norm2(inner), inplace=True))
        return new

    def _squeezed(self, *maps: Tensor) -> Tensor:
        squeezed: Tensor = self.conv1(functional.relu(self.norm1(torch.cat(maps, dim=1)), inplace=True))
        return squeezed


class DenseBlock(nn.ModuleDict):
    """Dense layers, each of which reads all maps before it."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x and all that the layers add, side by side."""
        maps = [x]
        for layer in self.values():
            maps.append(layer(maps))
        return torch.cat(maps, dim=1)


class Transition(nn.Module):
    """Norm, ReLU, 1x1 convolution to half the channels, and 2x2 averages unless the resolution is kept."""

    def __init__(self, inputs: int, outputs: int, *, pooled: bool, norm: Norm) -> None:
        super().__init__()
        self.norm = norm_layer(norm, inputs)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        # The published network drops an odd row or column; here it is kept, so that maps are never empty.
        self.pool = nn.AvgPool2d(2, ceil_mode=True) if pooled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the map for the next block."""
        pooled: Tensor = self.pool(self.conv(functional.relu(self.norm(x), inplace=True)))
        return pooled


class DenseNetEncoder(nn.Module):
    """The five resolutions of a DenseNet: after the stem's norm and after each block.

    Args:
        name: one of `DENSENETS`.
        input_channels: channels of the image.
        output_stride: 8, 16 or 32.
        norm: of all layers.
        final_norm: norm and ReLU after the last block.
        recompute: keep less for the backward pass.
    """

    channels: tuple[int, ...]

    def __init__(
        self,
        name: str,
        *,
        input_channels: int,
        output_stride: int = 32,
        norm: Norm = "batch",
        final_norm: bool = True,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        shape = DENSENETS[name]
        dilations = _DILATIONS[output_stride]
        features = nn.ModuleDict({"conv0": nn.Conv2d(input_channels, shape.stem, 7, 2, 3, bias=False)})
        features["norm0"] = norm_layer(norm, shape.stem)
        width, widths = shape.stem, [shape.stem]
        for number, (layers, dilation) in enumerate(zip(shape.blocks, dilations, strict=True), start=1):
            features[f"denseblock{number}"] = _block(
                width, layers, growth=shape.growth, dilation=dilation, norm=norm, recompute=recompute
            )
            width += layers * shape.growth
            widths.append(width)
            if number < len(dilations):
                pooled = dilations[number] == 1
                features[f"transition{number}"] = Transition(width, width // 2, pooled=pooled, norm=norm)
                width //= 2
        features["norm5"] = norm_layer(norm, width) if final_norm else nn.Identity()
        self.features = features
        self.final_norm = final_norm
        self.channels = tuple(widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of x (B, C, H, W), highest resolution first."""
        stem = functional.relu(self.features["norm0"](self.features["conv0"](x)), inplace=True)
        maps, x = [stem], functional.max_pool2d(stem, 3, 2, 1)
        for number in (1, 2, 3, 4):
            maps.append(self.features[f"denseblock{number}"](x))
            x = self.features[f"transition{number}"](maps[-1]) if number < 4 else x
        if self.final_norm:
            maps[-1] = functional.relu(self.features["norm5"](maps[-1]), inplace=True)
        return maps


def _block(inputs: int, layers: int, *, growth: int, dilation: int, norm: Norm, recompute: bool) -> DenseBlock:
    widths = (inputs + i * growth for i in range(layers))
    made = (DenseLayer(width, growth, dilation=dilation, norm=norm, recompute=recompute) for width in widths)
    return DenseBlock({f"denselayer{i}": layer for i, layer in enumerate(made, start=1)})
