"""Inf-Net (Fan et al. 2020, arXiv:2004.14133): a coarse segmentation, then three refinements of what it left out.

    x1 x2 x3 x4 = encoder at 1/4, 1/8, 1/16, 1/32
    r2 r3 r4 = receptive field blocks of x2 x3 x4                            blocks/receptive_field.py
    S_g = partial decoder(r2, r3, r4)                                        blocks/partial_decoder.py
    e = edge features of x1
    S_4 = reverse attention(x4, S_g, e), S_3 = …(x3, S_4, e), S_2 = …(x2, S_3, e)     blocks/reverse_attention.py

S_2 is the prediction. As published, S_3, S_4, S_g and the edges are trained too, each with weight 1 (`aux`); the edges
against the borders of the labels, by binary cross-entropy. The three refinements are needed for the prediction in any
case, so `aux=False` leaves out the edge's output alone.

The published network segments one structure, and its code stops with several. Here the heads have K channels, and the
reverse attention looks at what is likely background. A network of one logit (one region) is the published one.

What differs besides: sizes are those of the encoder's maps, so that slices of any size are taken (published: multiples
of 32); the edge output has one channel for all classes. The published encoder is Res2Net-50; paper 003 has Res2Net-101,
with the deep stem and averaging shortcuts of the published one ("res2net101d").

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.layers import ConvNorm, resized
from nnunet_spine_ext.networks.backbones.network import BackboneNetwork
from nnunet_spine_ext.networks.backbones.norms import Norm
from nnunet_spine_ext.networks.backbones.options import BackboneOptions
from nnunet_spine_ext.networks.blocks.partial_decoder import PartialDecoder
from nnunet_spine_ext.networks.blocks.receptive_field import ReceptiveFieldBlock
from nnunet_spine_ext.networks.blocks.reverse_attention import ReverseAttention
from nnunet_spine_ext.networks.slice_network import AuxTerm

SEGMENTATION_WEIGHT = 1.0
EDGE_WEIGHT = 1.0


@dataclass(frozen=True, kw_only=True)
class InfNetOptions(BackboneOptions):
    """What an Inf-Net is made of."""

    encoder: str = "res2net101d"
    output_stride: Literal[8, 16, 32] = 32
    aux: bool = True
    """Further outputs for training: the coarser segmentations and, with edge features, the edges."""
    attention: Literal["reverse", "none"] = "reverse"
    """`none`: the same refinements without the weight, to measure what it adds."""
    edge: bool = True
    """Edge features in the refinements, and edges as an output."""
    width: int = 32
    """Channels of the receptive field blocks; the refinements have 2 and 8 times as many."""


PAPER_003 = InfNetOptions(aux=False)
"""The form whose size paper 003's table states; the paper mentions no loss but that of the prediction."""


class EdgeFeatures(nn.Sequential):
    """(B, C, H, W) → (B, width, H, W): 1x1, 3x3 and 3x3 convolutions, each with a norm."""

    def __init__(self, inputs: int, width: int, *, norm: Norm) -> None:
        super().__init__(
            ConvNorm(inputs, width, 1, norm=norm),
            ConvNorm(width, width, norm=norm),
            ConvNorm(width, width, norm=norm),
        )


class InfNet(BackboneNetwork):
    """Encoder, partial decoder and reverse attention; slices of any size (see `BackboneNetwork`).

    Of its logits, class 0 is the background, unless there is one logit only.
    """

    options_class = InfNetOptions
    options: InfNetOptions
    aux_on_encoder = False

    def build(self, num_classes: int) -> None:
        """Make the coarse segmentation, the edges and the refinements."""
        chosen, width, norm = self.options, self.options.width, self.options.norm
        _, c1, c2, c3, c4 = self.encoder.channels
        self.fields = nn.ModuleList(ReceptiveFieldBlock(c, width, norm=norm) for c in (c2, c3, c4))
        self.coarse = PartialDecoder(width, num_classes, norm=norm)
        edge_width = 2 * width if chosen.edge else 0
        self.edge = EdgeFeatures(c1, edge_width, norm=norm) if chosen.edge else None
        self.edge_head = ConvNorm(edge_width, 1, norm=norm) if chosen.edge and self.aux else None
        self.refinements = nn.ModuleList(
            ReverseAttention(
                inputs,
                factor * width,
                num_classes,
                edge_width=edge_width,
                kernels=kernels,
                reverse=chosen.attention == "reverse",
                norm=norm,
            )
            for inputs, factor, kernels in ((c4, 8, (5, 5, 5, 1)), (c3, 2, (3, 3, 3)), (c2, 2, (3, 3, 3)))
        )

    @classmethod
    def auxiliary(cls, options: Mapping[str, Any]) -> tuple[AuxTerm, ...]:
        """Return the terms of S_3, S_4, S_g and the edges, as far as these options have them."""
        chosen = InfNetOptions.of(options)
        if not chosen.aux:
            return ()
        edges = (AuxTerm("edge", EDGE_WEIGHT),) if chosen.edge else ()
        return (AuxTerm("seg", SEGMENTATION_WEIGHT),) * 3 + edges

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, K, H, W) of x (B, C, H, W); in training with further outputs: S_2, S_3, S_4, S_g, edges."""
        size = x.shape[2:]
        _, x1, x2, x3, x4 = self.encoder(x)
        edge = None if self.edge is None else self.edge(x1)
        segmentations = [self.coarse(*(field(m) for field, m in zip(self.fields, (x2, x3, x4), strict=True)))]
        for refine, features in zip(self.refinements, (x4, x3, x2), strict=True):
            segmentations.append(refine(features, segmentations[-1], edge))
        if not (self.aux and self.training):
            return resized(segmentations[-1], size)
        edges = [] if self.edge_head is None else [self.edge_head(edge)]
        return [resized(output, size) for output in (*reversed(segmentations), *edges)]


def paper_infnet(
    *,
    encoder: str = "res2net101d",
    input_channels: int = 1,
    num_classes: int = 20,
) -> InfNet:
    """Return paper 003's form, for slices of one channel and its 20 classes."""
    return InfNet(input_channels=input_channels, num_classes=num_classes, options={"encoder": encoder})
