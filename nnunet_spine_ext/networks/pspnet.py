"""PSPNet (Zhao et al. 2017, arXiv:1612.01105): averages over grids of 1, 2, 3 and 6 cells as context.

Head `original`, as published: each grid's averages go through a 1x1 convolution, norm and ReLU to 512 channels, are
brought back to the map's size and put beside it; a 3x3 convolution to 512 channels, dropout of channels, 1x1 to the
classes. The paper's encoder is ResNet-101 with three 3x3 convolutions in its stem ("resnet101s") at output stride 8,
with a second head on the last map but one, weight 0.4.

Head `progressive`: the form that reproduces the size and the cost in paper 003's table (27 M, 470 G), which the table
calls ResNet101 but is a ResNet-34 at output stride 8. The grids have a 1x1 convolution only; 1x1 to 1024 channels,
ReLU, dropout 0.3; then steps of doubling the size, 3x3 convolution, norm, PReLU, dropout 0.15, up to the image's size.

What differs from the published code:

* the 1x1 grid has a bias instead of a norm (`pooled_norm` brings the norm back): no norm can be trained on the single
  value of a batch of one;
* output stride 16 by default: about a quarter of the encoder's last two stages' cost;
* raw logits; the public code behind the `progressive` form ends in a log-softmax;
* steps go to the sizes that lead to the image's, so that any image size is taken.

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.layers import ClassHead, ConvUnit, PooledUnit, resized
from nnunet_spine_ext.networks.backbones.network import BackboneNetwork
from nnunet_spine_ext.networks.backbones.norms import Norm, norm_layer
from nnunet_spine_ext.networks.backbones.options import BackboneOptions

BINS = (1, 2, 3, 6)


@dataclass(frozen=True, kw_only=True)
class PSPNetOptions(BackboneOptions):
    """What a PSPNet is made of."""

    head: Literal["original", "progressive"] = "original"
    """`progressive` is the form of paper 003's table."""
    context: Literal["pyramid", "none"] = "pyramid"
    """`none`: the same head without the grids, to measure what they add."""
    width: int = 512
    """Channels of each grid, and of the head's last map in the original form."""
    pooled_norm: bool = False
    """A norm on the 1x1 grid as published; training then needs at least two slices in a batch."""

    def wrong_values(self) -> list[str]:
        """Return a message for a norm that can never be trained."""
        return [*super().wrong_values(), *self.wrong_pooled_norm(self.pooled_norm)]


PAPER_003 = PSPNetOptions(encoder="resnet34", output_stride=8, head="progressive")
"""The form whose size and cost paper 003's table states."""


class Pyramid(nn.Module):
    """(B, C, H, W) → (B, C + 4 width, H, W): the map and its averages over four grids, each through a unit."""

    def __init__(self, units: Sequence[nn.Module]) -> None:
        super().__init__()
        self.units = nn.ModuleList(units)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with its context behind it."""
        size = x.shape[2:]
        return torch.cat([x, *(resized(unit(x), size) for unit in self.units)], dim=1)


class OriginalHead(nn.Module):
    """Pyramid, 3x3 unit, dropout, 1x1 to logits at the encoder's last size."""

    def __init__(self, inputs: int, num_classes: int, options: PSPNetOptions) -> None:
        super().__init__()
        width, norm = options.width, options.norm
        grids = BINS if options.context == "pyramid" else ()
        self.context = Pyramid(
            [PooledUnit(inputs, width, bins=bins, norm=norm, pooled_norm=options.pooled_norm) for bins in grids]
        )
        self.fuse = ConvUnit(inputs + len(grids) * width, width, norm=norm)
        self.classify = ClassHead(width, num_classes)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Return logits for the encoder's last map."""
        logits: Tensor = self.classify(self.fuse(self.context(x)))
        return logits


class ProgressiveHead(nn.Module):
    """Pyramid without norm, 1x1 to 1024 channels, then doubling with a 3x3 convolution up to the image's size."""

    widths = (1024, 256, 64, 64)

    def __init__(self, inputs: int, num_classes: int, options: PSPNetOptions) -> None:
        super().__init__()
        grids = BINS if options.context == "pyramid" else ()
        self.context = Pyramid(
            [nn.Sequential(nn.AdaptiveAvgPool2d(b), nn.Conv2d(inputs, options.width, 1, bias=False)) for b in grids]
        )
        steps = int(math.log2(options.output_stride))
        widths = (*self.widths, *self.widths[-1:] * (steps + 1 - len(self.widths)))
        self.squeeze = nn.Sequential(
            nn.Conv2d(inputs + len(grids) * options.width, widths[0], 1), nn.ReLU(inplace=True), nn.Dropout2d(0.3)
        )
        # The published network drops channels after each step but the last.
        self.steps = nn.ModuleList(
            _step(before, after, norm=options.norm, dropout=0.15 if i + 1 < steps else 0.0)
            for i, (before, after) in enumerate(pairwise(widths))
        )
        self.classify = ClassHead(widths[-1], num_classes, dropout=0.0)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Return logits of `size` (H, W) for the encoder's last map."""
        x = self.squeeze(self.context(x))
        for i, step in enumerate(self.steps):
            stride = 2 ** (len(self.steps) - 1 - i)
            x = step(resized(x, [-(-n // stride) for n in size]))
        logits: Tensor = self.classify(x)
        return logits


def _step(inputs: int, outputs: int, *, norm: Norm, dropout: float) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    return nn.Sequential(conv, norm_layer(norm, outputs), nn.PReLU(), nn.Dropout2d(dropout))


class PSPNet(BackboneNetwork):
    """Encoder and pyramid of averages; slices of any size (see `BackboneNetwork`)."""

    options_class = PSPNetOptions
    options: PSPNetOptions

    def build(self, num_classes: int) -> None:
        """Make the head."""
        head = OriginalHead if self.options.head == "original" else ProgressiveHead
        self.head = head(self.encoder.channels[-1], num_classes, self.options)

    def logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return logits for the encoder's last map."""
        logits: Tensor = self.head(features[-1], size)
        return logits


def paper_pspnet(
    *,
    encoder: str = "resnet101",
    output_stride: int = 8,
    head: str = "original",
    aux: bool = False,
    input_channels: int = 1,
    num_classes: int = 20,
) -> PSPNet:
    """Return the published form, with all its norms, for slices of one channel and the 20 classes of paper 003."""
    options = {"encoder": encoder, "output_stride": output_stride, "head": head, "aux": aux, "pooled_norm": True}
    return PSPNet(input_channels=input_channels, num_classes=num_classes, options=options)
