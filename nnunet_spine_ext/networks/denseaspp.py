"""DenseASPP (Yang et al. 2018, CVPR) on DenseNet-169: dilated convolutions of which each reads all before it.

Encoder (`backbones/densenet.py`), a fourth transition (norm, ReLU, 1x1 to half the channels) and a norm; then for the
dilations 3, 6, 12, 18, 24: [norm but for the first], ReLU, 1x1 to 336 channels, norm, ReLU, dilated 3x3 to 168, dropout
0.1, put before all maps so far; dropout, 1x1 to the classes. At output stride 16 the map is brought to 1/8 before the
dilations, whose reach is meant for that. Written from the paper and the published configuration of the 169-layer form,
whose number of weights it has.

What differs: BatchNorm's momentum is 0.1 by default (`norm_momentum`; the published 0.0003 needs tens of thousands of
steps before its running statistics mean anything); with `recompute`, the concatenations of dense layers are computed
again in the backward pass, which saves most of the memory of a step; an aux head is our option, the paper has none.

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunet_spine_ext.networks.backbones.encoder import BackboneEncoder
from nnunet_spine_ext.networks.backbones.layers import ClassHead, ConvUnit, resized
from nnunet_spine_ext.networks.backbones.network import BackboneNetwork
from nnunet_spine_ext.networks.backbones.norms import norm_layer
from nnunet_spine_ext.networks.backbones.options import BackboneOptions
from nnunet_spine_ext.networks.blocks.recompute import recomputed

RATES = (3, 6, 12, 18, 24)
"""Dilations on a map of 1/8."""

PAPER_MOMENTUM = 3e-4


@dataclass(frozen=True, kw_only=True)
class DenseASPPOptions(BackboneOptions):
    """What a DenseASPP is made of."""

    encoder: str = "densenet169"
    context: Literal["dense-aspp", "none"] = "dense-aspp"
    """`none`: one 1x1 unit of the same output width instead of the dilated layers, to measure what they add."""
    inner_width: int = 336
    """Channels after the 1x1 convolution of each dilated layer."""
    growth: int = 168
    """Channels that each dilated layer adds."""
    norm_momentum: float = 0.1
    """Of BatchNorm's running statistics in the head."""
    recompute: bool = True
    """Compute concatenations again in backward instead of keeping them; results are equal."""

    def wrong_values(self) -> list[str]:
        """Return a message for a momentum that is none."""
        found = super().wrong_values()
        if not (isinstance(self.norm_momentum, float) and 0 < self.norm_momentum <= 1):
            found.append(f"norm_momentum is {self.norm_momentum!r}, expected more than 0 and at most 1")
        return found


PAPER_003 = DenseASPPOptions(norm_momentum=PAPER_MOMENTUM)
"""The form whose size and cost paper 003's table states."""


class DilatedLayer(nn.Module):
    """[Norm], ReLU, 1x1 convolution, norm, ReLU, dilated 3x3 convolution, dropout."""

    def __init__(self, inputs: int, *, dilation: int, first: bool, options: DenseASPPOptions) -> None:
        super().__init__()
        inner, growth, momentum = options.inner_width, options.growth, options.norm_momentum
        self.norm1 = nn.Identity() if first else norm_layer(options.norm, inputs, momentum=momentum)
        self.conv1 = nn.Conv2d(inputs, inner, 1)
        self.norm2 = norm_layer(options.norm, inner, momentum=momentum)
        self.conv2 = nn.Conv2d(inner, growth, 3, padding=dilation, dilation=dilation)
        self.dropout = nn.Dropout2d(0.1)
        self.recompute = options.recompute

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return (B, growth, H, W) for maps (B, ..., H, W), newest first."""
        inner = recomputed(self._squeezed, *maps, state=self.norm1, when=self.recompute)
        new: Tensor = self.dropout(self.conv2(functional.relu(self.norm2(inner), inplace=True)))
        return new

    def _squeezed(self, *maps: Tensor) -> Tensor:
        # Not in place: without a norm before it, that would overwrite the map that later layers read.
        squeezed: Tensor = self.conv1(functional.relu(self.norm1(torch.cat(maps, dim=1))))
        return squeezed


class DenselyDilated(nn.Module):
    """(B, C, H, W) → (B, C + 5 growth, H, W): dilated layers, each of which reads all maps before it."""

    def __init__(self, inputs: int, *, options: DenseASPPOptions) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DilatedLayer(inputs + i * options.growth, dilation=rate, first=i == 0, options=options)
            for i, rate in enumerate(RATES)
        )
        self.channels = inputs + len(RATES) * options.growth

    def forward(self, x: Tensor) -> Tensor:
        """Return x with all that the layers add before it."""
        maps = [x]
        for layer in self.layers:
            maps.insert(0, layer(maps))
        return torch.cat(maps, dim=1)


class DenseASPP(BackboneNetwork):
    """Encoder and densely connected dilated convolutions; slices of any size (see `BackboneNetwork`)."""

    options_class = DenseASPPOptions
    options: DenseASPPOptions

    def make_encoder(self, input_channels: int) -> BackboneEncoder:
        """Return a DenseNet without its last norm, which the transition has."""
        o = self.options
        return BackboneEncoder(
            o.encoder,
            input_channels=input_channels,
            output_stride=o.output_stride,
            norm=o.norm,
            final_norm=False,
            recompute=o.recompute,
        )

    def build(self, num_classes: int) -> None:
        """Make the transition, the dilated layers and the head."""
        inputs, norm = self.encoder.channels[-1], self.options.norm
        self.transition = nn.Sequential(
            norm_layer(norm, inputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, inputs // 2, 1, bias=False),
            norm_layer(norm, inputs // 2),
        )
        self.context, width = _context(inputs // 2, self.options)
        self.classify = ClassHead(width, num_classes)

    def logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return logits at 1/8 of the image's size."""
        x = resized(self.transition(features[-1]), [-(-n // 8) for n in size])
        logits: Tensor = self.classify(self.context(x))
        return logits


def _context(inputs: int, options: DenseASPPOptions) -> tuple[nn.Module, int]:
    width = inputs + len(RATES) * options.growth
    if options.context == "none":
        return ConvUnit(inputs, width, 1, norm=options.norm, momentum=options.norm_momentum), width
    return DenselyDilated(inputs, options=options), width


def paper_denseaspp(
    *,
    encoder: str = "densenet169",
    output_stride: int = 16,
    input_channels: int = 1,
    num_classes: int = 20,
) -> DenseASPP:
    """Return the form of paper 003's table."""
    options = {**PAPER_003.as_json(), "encoder": encoder, "output_stride": output_stride}
    return DenseASPP(input_channels=input_channels, num_classes=num_classes, options=options)
