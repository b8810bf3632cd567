"""EMANet (Li et al. 2019, arXiv:1907.13426): attention to 64 bases instead of to all positions.

Encoder, 3x3 unit to 512 channels, expectation-maximisation attention (`blocks/expectation_maximization.py`), 3x3 unit
to 256 channels, dropout of channels, 1x1 to the classes. The published encoder is ResNet-101 with three 3x3
convolutions in its stem ("resnet101s") at output stride 8, with dilations 2, 8 and 16 in its last stage (`multi_grid`):
the form whose size and cost paper 003's table states.

What differs from the published network: output stride 16 by default; the momentum of all BatchNorms is torch's 0.1
(published: 3e-4, for statistics that began as those of ImageNet); the first convolution of the attention, which the
method cuts off from the gradient, is frozen (262,656 weights at width 512).

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.layers import ClassHead, ConvUnit
from nnunet_spine_ext.networks.backbones.network import BackboneNetwork
from nnunet_spine_ext.networks.backbones.options import BackboneOptions
from nnunet_spine_ext.networks.blocks.expectation_maximization import ExpectationMaximization


@dataclass(frozen=True, kw_only=True)
class EMANetOptions(BackboneOptions):
    """What an EMANet is made of."""

    least: ClassVar[Mapping[str, int]] = {"width": 2}

    attention: Literal["em", "none"] = "em"
    """`none`: the same head without the attention, to measure what it adds."""
    multi_grid: bool = False
    """Dilations in the ratio 1, 4, 8 in a ResNet's last stage, as published; no weight depends on it."""
    width: int = 512
    """Channels of the attention; the last unit has half of them."""
    bases: int = 64
    """Of the attention."""
    iterations: int = 3
    """Of expectation and maximisation."""

    @property
    def last_dilations(self) -> tuple[int, ...]:
        """Dilations of the blocks of a ResNet's last stage; () leaves the encoder's own."""
        rate = 16 // self.output_stride
        return (max(rate, 1), max(4 * rate, 1), max(8 * rate, 1)) if self.multi_grid else ()


PAPER_003 = EMANetOptions(encoder="resnet101s", output_stride=8, multi_grid=True)
"""The published form, whose size and cost paper 003's table states."""


class EMANet(BackboneNetwork):
    """Encoder and expectation-maximisation attention; slices of any size (see `BackboneNetwork`)."""

    options_class = EMANetOptions
    options: EMANetOptions
    frozen: ClassVar[tuple[str, ...]] = ("attention.project",)
    """Parts that no gradient reaches, by the method's own definition; their `requires_grad` is off."""

    def build(self, num_classes: int) -> None:
        """Make the attention and the head."""
        o, width, norm = self.options, self.options.width, self.options.norm
        self.squeeze = ConvUnit(self.encoder.channels[-1], width, norm=norm)
        self.attention: nn.Module = nn.Identity()
        if o.attention == "em":
            self.attention = ExpectationMaximization(width, bases=o.bases, iterations=o.iterations, norm=norm)
        self.head = nn.Sequential(ConvUnit(width, width // 2, norm=norm), ClassHead(width // 2, num_classes))

    def logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Return logits for the encoder's last map."""
        logits: Tensor = self.head(self.attention(self.squeeze(features[-1])))
        return logits


def paper_emanet(
    *,
    encoder: str = "resnet101s",
    output_stride: int = 8,
    input_channels: int = 1,
    num_classes: int = 20,
) -> EMANet:
    """Return the published form, for slices of one channel and the 20 classes of paper 003."""
    options = {**PAPER_003.as_json(), "encoder": encoder, "output_stride": output_stride}
    return EMANet(input_channels=input_channels, num_classes=num_classes, options=options)
