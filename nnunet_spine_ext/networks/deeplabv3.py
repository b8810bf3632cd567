"""DeepLabV3 (Chen et al. 2017, arXiv:1706.05587): dilated branches and the image's average as context.

Encoder, ASPP (`backbones/aspp.py`), a 3x3 unit, 1x1 to the classes, bilinear to the image's size. Paper 004 trained it
on ResNet-101 among its baselines; its 46.9 M weights are reproduced by no public implementation (58.6 M here and in
torchvision).

What differs from the published code: the pooled branch has a bias instead of a norm, which cannot be trained on the
single value of a batch of one (`pooled_norm` brings it back); output stride 16 by default (8 in torchvision's).

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.aspp import ASPP
from nnunet_spine_ext.networks.backbones.layers import ClassHead, ConvUnit
from nnunet_spine_ext.networks.backbones.network import BackboneNetwork
from nnunet_spine_ext.networks.deeplab_options import DeepLabOptions


class DeepLab(BackboneNetwork):
    """What DeepLabV3 and DeepLabV3+ share: the encoder and the context."""

    options_class = DeepLabOptions
    options: DeepLabOptions

    def build(self, num_classes: int) -> None:  # noqa: ARG002
        """Make the context; a subclass adds its head."""
        self.context = _context(self.encoder.channels[-1], self.options)


def _context(inputs: int, options: DeepLabOptions) -> nn.Module:
    if options.context == "none":
        return nn.Sequential(ConvUnit(inputs, options.width, 1, norm=options.norm), nn.Dropout(0.5))
    return ASPP(
        inputs,
        options.width,
        output_stride=options.output_stride,
        norm=options.norm,
        pooled_norm=options.pooled_norm,
        dropout=0.5,
    )


class DeepLabV3(DeepLab):
    """Encoder, ASPP and a small head; slices of any size (see `BackboneNetwork`)."""

    def build(self, num_classes: int) -> None:
        """Make the context and the head."""
        super().build(num_classes)
        width = self.options.width
        unit = ConvUnit(width, width, norm=self.options.norm)
        self.head = nn.Sequential(unit, ClassHead(width, num_classes, dropout=0.0))

    def logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Return logits for the encoder's last map."""
        logits: Tensor = self.head(self.context(features[-1]))
        return logits


def paper_deeplabv3(
    *,
    encoder: str = "resnet101",
    output_stride: int = 8,
    aux: bool = False,
    input_channels: int = 1,
    num_classes: int = 20,
) -> DeepLabV3:
    """Return the published form, with all its norms, as torchvision has it too."""
    options = {"encoder": encoder, "output_stride": output_stride, "aux": aux, "pooled_norm": True}
    return DeepLabV3(input_channels=input_channels, num_classes=num_classes, options=options)
