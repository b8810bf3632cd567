"""PSANet (Zhao et al. 2018, ECCV): each position says how much of every other position it wants, and gives.

Encoder; the attention (`blocks/point_attention.py`) of both directions on the map at half its size, side by side, 1x1
unit back to the encoder's channels, beside the map; 3x3 unit to 512 channels, dropout of channels, 1x1 to the classes.

The number of weights depends on the size of the slices: a map of h x w positions has (2 h - 1) (2 w - 1) channels of
attention. So the network is built for the patch of a plan, and takes slices of no other size; nnU-Net's sliding window
gives it no others. A checkpoint fits plans of the same patch in the plane only.

The published encoder is ResNet-101 with three 3x3 convolutions in its stem ("resnet101s") at output stride 8, with a
second head of weight 0.4 on its last map but one (`aux`). Here the output stride is 16 by default, which also has a
fourth of the attention's channels.

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.layers import ClassHead, ConvUnit
from nnunet_spine_ext.networks.backbones.network import BackboneNetwork
from nnunet_spine_ext.networks.backbones.options import BackboneOptions
from nnunet_spine_ext.networks.blocks.point_attention import Direction, PointAttention, resized_by_corners
from nnunet_spine_ext.networks.slice_patch import check_patch, check_statistics, slice_patch

SHRINK = 2
"""Size of the encoder's map over that of the attention's."""


@dataclass(frozen=True, kw_only=True)
class PSANetOptions(BackboneOptions):
    """What a PSANet is made of."""

    attention: Literal["both", "collect", "distribute", "none"] = "both"
    """Directions; `none`: the same head on the encoder's map alone, to measure what attention adds."""
    width: int = 512
    """Channels of each direction, and of the head."""

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that there are, in order."""
        known: tuple[Direction, ...] = ("collect", "distribute")
        return tuple(one for one in known if self.attention in ("both", one))


PAPER_003 = PSANetOptions(output_stride=8)
"""The form whose size paper 003's table states, with its slices of 880 x 880."""


class PSANet(BackboneNetwork):
    """Encoder and point-wise attention, for slices of `patch_size` only (see `BackboneNetwork` for arguments).

    Raises:
        NetworkPlanError: (a ValueError) no patch size, or options that are not allowed; in forward, slices of another
            size.
    """

    options_class = PSANetOptions
    options: PSANetOptions

    def build(self, num_classes: int) -> None:
        """Make the attention for the patch, and the head."""
        chosen = self.options
        self.patch_size = slice_patch(self.patch_size, network="PSANet")
        inputs, width, norm = self.encoder.channels[-1], chosen.width, chosen.norm
        self.small = tuple(-(-n // (chosen.output_stride * SHRINK)) for n in self.patch_size)
        self.attention = nn.ModuleList(
            PointAttention(inputs, width, size=self.small, direction=direction, norm=norm)
            for direction in chosen.directions
        )
        beside = inputs if self.attention else 0
        if self.attention:
            self.expand = ConvUnit(len(self.attention) * width, inputs, 1, norm=norm)
        self.head = nn.Sequential(ConvUnit(inputs + beside, width, norm=norm), ClassHead(width, num_classes))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, K, H, W) of x (B, C, H, W); in training with a further head a list of two.

        Raises:
            NetworkPlanError: x has not the size that the network was built for.
        """
        check_patch(x, self.patch_size, network="PSANet")
        if self.training and self.attention:
            check_statistics(
                self.small, batch=x.shape[0], norm=self.encoder.norm, network="PSANet", where="the attention"
            )
        return super().forward(x)

    def logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Return logits for the encoder's last map."""
        x = features[-1]
        if self.attention:
            moved = torch.cat([direction(x) for direction in self.attention], dim=1)
            x = torch.cat((x, resized_by_corners(self.expand(moved), x.shape[2:])), dim=1)
        logits: Tensor = self.head(x)
        return logits


def paper_psanet(
    *,
    encoder: str = "resnet101",
    output_stride: int = 8,
    patch_size: Sequence[int] = (880, 880),
    aux: bool = False,
    input_channels: int = 1,
    num_classes: int = 20,
) -> PSANet:
    """Return the published form, for slices of one channel and the 20 classes of paper 003."""
    options = {**PAPER_003.as_json(), "encoder": encoder, "output_stride": output_stride, "aux": aux}
    return PSANet(input_channels=input_channels, num_classes=num_classes, patch_size=patch_size, options=options)
