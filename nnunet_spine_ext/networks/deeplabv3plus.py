"""DeepLabV3+ (Chen et al. 2018, arXiv:1802.02611) with plain convolutions: context, then detail from the 1/4 map.

Encoder at output stride 16, ASPP (`backbones/aspp.py`) to 256 channels, brought to 1/4 and put beside 48 channels that
a 1x1 unit makes of the encoder's 1/4 map; two 3x3 units (dropout 0.5 and 0.1), 1x1 to the classes, bilinear to the
image's size. It is paper 003's best network. Size and cost in its table (59 M, 261 G) are those of a public
implementation with plain, not separable, 3x3 convolutions; so are these.

What differs from that implementation: the pooled branch has a bias instead of a norm, which cannot be trained on the
single value of a batch of one (`pooled_norm` brings it back); its dilations 2, 4, 8 in the encoder's last stage are an
option (`multi_grid`).

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.layers import ClassHead, ConvUnit, resized
from nnunet_spine_ext.networks.deeplab_options import DeepLabOptions
from nnunet_spine_ext.networks.deeplabv3 import DeepLab

DETAIL_CHANNELS = 48
"""Of the 1/4 map: few, so that they do not outweigh the context (Chen et al. 2018, table 1)."""

PAPER_003 = DeepLabOptions(multi_grid=True)
"""The form whose size and cost paper 003's table states."""


class DeepLabV3Plus(DeepLab):
    """Encoder, ASPP, and a decoder with the encoder's 1/4 map; slices of any size (see `BackboneNetwork`)."""

    def build(self, num_classes: int) -> None:
        """Make the context, the detail and the head."""
        super().build(num_classes)
        width, norm = self.options.width, self.options.norm
        self.detail = ConvUnit(self.encoder.channels[1], DETAIL_CHANNELS, 1, norm=norm)
        self.head = nn.Sequential(
            ConvUnit(width + DETAIL_CHANNELS, width, norm=norm),
            nn.Dropout(0.5),
            ConvUnit(width, width, norm=norm),
            nn.Dropout(0.1),
            ClassHead(width, num_classes, dropout=0.0),
        )

    def logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Return logits at 1/4 of the image's size."""
        detail = self.detail(features[1])
        context = resized(self.context(features[-1]), detail.shape[2:])
        logits: Tensor = self.head(torch.cat((context, detail), dim=1))
        return logits


def paper_deeplabv3plus(
    *,
    encoder: str = "resnet101",
    output_stride: int = 16,
    input_channels: int = 1,
    num_classes: int = 20,
) -> DeepLabV3Plus:
    """Return the form of paper 003's table, with all its norms."""
    options = {**PAPER_003.as_json(), "encoder": encoder, "output_stride": output_stride, "pooled_norm": True}
    return DeepLabV3Plus(input_channels=input_channels, num_classes=num_classes, options=options)
