"""The 2D UNet++ that paper 000 compares its hybrid with, as its published code has it ("UNetppL3").

    1/2    X00 ── X01 ── X02 ── X03      rows at 1/2, 1/4, 1/8 and 1/16 of the slice, widths h, h, 2h, 4h
    1/4    X10 ── X11 ── X12             every node: a residual block on its left neighbour and the node below it,
    1/8    X20 ── X21                    up-sampled; X01, X02 and X03 each have an own path to full resolution
    1/16   X30

What makes it another network than UNet++ (`unetpp`), and is kept, because the paper's numbers are this network's:
 - a node reads its left neighbour only, not all nodes before it (X03 reads X02 and X12, neither X00 nor X01);
 - nothing lives at full resolution but the three heads;
 - down- and up-sampling are residual blocks of their own; the nodes of the middle widen (X11 2h, X12 and X21 4h).

What is not kept: its single output channel without bias, regressed with mean squared error. Here there is a logit for
each class, and probabilities are regressed (`training.losses.ProbabilityMSELoss`); with one class the weights are the
paper's in number. The shortcut of an up-sampling block is convolved and normalised before it is repeated, not after,
which gives the same values at a quarter of the cost (running variances differ by the factor (n - 1/4)/(n - 1) for n
voxels). Slices of any size are padded with zeros to a multiple of 16 and cropped again.

Written from the structure; the code has no licence and none of it was copied.

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.norms import Norm, norm_layer
from nnunet_spine_ext.networks.blocks.layers import INV_SQRT2
from nnunet_spine_ext.networks.options import NetworkOptions
from nnunet_spine_ext.networks.slice_network import AuxTerm, SliceNetwork
from nnunet_spine_ext.networks.slice_patch import check_statistics

__all__ = ["SpineUNetPPPaper", "UNetPPPaperOptions", "paper_unetpp_000"]

STRIDE = 16
"""Of the lowest row."""
DEPTHS = 3


@dataclass(frozen=True, kw_only=True)
class UNetPPPaperOptions(NetworkOptions):
    """What can be changed; the defaults are the paper's.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    width: int = 32
    """h; the paper trains 32."""
    norm: Norm = "batch"
    """`group` or `instance` for batches of few slices."""


class SpineUNetPPPaper(SliceNetwork):
    """The network for slices of any size; in training it returns the logits of X03, X02 and X01.

    Raises:
        NetworkPlanError: (a ValueError) options that are not allowed; in training, slices of at most 16 x 16 that leave
            the norm a single value.
    """

    def __init__(
        self,
        *,
        input_channels: int,
        num_classes: int,
        patch_size: Sequence[int] = (),  # noqa: ARG002  (any size)
        options: UNetPPPaperOptions | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.options = UNetPPPaperOptions.of(options)
        h, norm = self.options.width, self.options.norm
        widths = (h, h, 2 * h, 4 * h)
        self.stages = nn.ModuleList(
            [ResUnit(input_channels, h, norm=norm, stride=2), *(ResUnit(w, w, norm=norm) for w in widths[1:])]
        )
        self.downs = nn.ModuleList(ResUnit(a, b, norm=norm, stride=2) for a, b in pairwise(widths))
        self.nodes = nn.ModuleDict(
            {
                "x21": NestUnit(4 * h, 2 * h, 2 * h, 4 * h, norm=norm),
                "x11": NestUnit(2 * h, h, h, 2 * h, norm=norm),
                "x12": NestUnit(4 * h, 2 * h, 2 * h, 4 * h, norm=norm),
                "x01": NestUnit(h, h, h, h, norm=norm),
                "x02": NestUnit(2 * h, h, h, h, norm=norm),
                "x03": NestUnit(4 * h, 2 * h, h, h, norm=norm),
            }
        )
        self.heads = nn.ModuleList(NestHead(h, num_classes, norm=norm) for _ in range(DEPTHS))
        self.aux = self.auxiliary({})

    @classmethod
    def auxiliary(cls, options: Mapping[str, Any]) -> tuple[AuxTerm, ...]:  # noqa: ARG003
        """Return the terms of X02 and X01: labels, with the weight of X03."""
        return (AuxTerm("seg", 1.0),) * (DEPTHS - 1)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, K, H, W) for x (B, C, H, W); in training those of X03, X02 and X01."""
        rows, columns = x.shape[2:]
        padded = F.pad(x, (0, -columns % STRIDE, 0, -rows % STRIDE))
        if self.training:
            lowest = [n // STRIDE for n in padded.shape[2:]]
            check_statistics(
                lowest, batch=x.shape[0], norm=self.options.norm, network="UNet++ of paper 000", where="its lowest row"
            )  # fmt: skip
        tops = self._tops(self._columns(padded))
        wanted = range(DEPTHS - 1, -1, -1) if self.training else [DEPTHS - 1]
        logits = [self.heads[i](tops[i])[:, :, :rows, :columns] for i in wanted]
        return logits if self.training else logits[0]

    def _columns(self, x: Tensor) -> list[Tensor]:
        """Return X00, X10, X20 and X30."""
        x = self.stages[0](x)
        found = [x]
        for down, stage in zip(self.downs, self.stages[1:], strict=False):
            x = stage(down(x))
            found.append(x)
        return found

    def _tops(self, columns: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return X01, X02 and X03."""
        x00, x10, x20, x30 = columns
        n = self.nodes
        x11 = n["x11"](x20, x10)
        x12 = n["x12"](n["x21"](x30, x20), x11)
        x01 = n["x01"](x10, x00)
        x02 = n["x02"](x11, x01)
        return x01, x02, n["x03"](x12, x02)


class ResUnit(nn.Module):
    """relu((main + shortcut) / sqrt 2).

    main = conv 3x3 (strided) → norm → relu → conv 3x3 → norm;
    shortcut = conv 1x1 → norm, also where width and size stay.
    """

    def __init__(self, inputs: int, outputs: int, *, norm: Norm, stride: int = 1) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            norm_layer(norm, outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            norm_layer(norm, outputs),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), norm_layer(norm, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for x (B, C, H, W)."""
        return torch.relu((self.main(x) + self.shortcut(x)) * INV_SQRT2)


class ResUpUnit(nn.Module):
    """relu((main + shortcut) / sqrt 2) at twice the resolution.

    main = conv 3x3 → norm → relu → transposed conv 2x2 → norm;
    shortcut = conv 1x1 → norm → nearest neighbour.
    """

    def __init__(self, inputs: int, outputs: int, *, norm: Norm) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            norm_layer(norm, outputs),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(outputs, outputs, 2, 2, bias=False),
            norm_layer(norm, outputs),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), norm_layer(norm, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (B, C', 2 H, 2 W) for x (B, C, H, W)."""
        shortcut = F.interpolate(self.shortcut(x), scale_factor=2.0, mode="nearest")
        return torch.relu((self.main(x) + shortcut) * INV_SQRT2)


class NestUnit(nn.Module):
    """A node: the one below brought up to `raised` channels, beside its left neighbour, through a residual block."""

    def __init__(self, below: int, raised: int, left: int, outputs: int, *, norm: Norm) -> None:
        super().__init__()
        self.up = ResUpUnit(below, raised, norm=norm)
        self.block = ResUnit(raised + left, outputs, norm=norm)

    def forward(self, below: Tensor, left: Tensor) -> Tensor:
        """Return the node's features at the resolution of `left`."""
        features: Tensor = self.block(torch.cat((self.up(below), left), dim=1))
        return features


class NestHead(nn.Module):
    """From a node of the highest row to logits at full resolution.

    Its name for the last convolution is the one by which nnU-Net's `-pretrained_weights` leaves heads out.
    """

    def __init__(self, width: int, classes: int, *, norm: Norm) -> None:
        super().__init__()
        self.path = nn.Sequential(
            ResUpUnit(width, width, norm=norm),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            norm_layer(norm, width),
            nn.ReLU(inplace=True),
        )
        self.seg_layers = nn.Conv2d(width, classes, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K, 2 H, 2 W) for x (B, C, H, W)."""
        logits: Tensor = self.seg_layers(self.path(x))
        return logits


def paper_unetpp_000(*, width: int = 32, input_channels: int = 1, num_classes: int = 1) -> SpineUNetPPPaper:
    """Return the paper's own network, with its one output channel."""
    return SpineUNetPPPaper(
        input_channels=input_channels, num_classes=num_classes, options=UNetPPPaperOptions(width=width)
    )
