"""DANet (Fu et al. 2019, arXiv:1809.02983): attention between positions and between channels, side by side.

Encoder, then two branches: 3x3 unit to 512 channels, attention (`blocks/position_attention.py`,
`blocks/channel_attention.py`), 3x3 unit. The sum of both gives the logits. As published, each branch has a head of its
own besides, which is trained with the same loss and weight 1; `aux=False` leaves both out.

Paper 003's table has the size of this network, and a cost (139 G at 880 x 880) that only an encoder at output stride 32
reproduces; the published network has 8. Here 16 is the default, as for all networks on published encoders: at 896 x 896
that is 3,136 positions where 8 has 12,544.

What differs from the published code: attention is computed in float32 (the sums over positions overflow float16), block
by block instead of as one matrix, with equal values; the convolutions to query and key begin as torch draws them.

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.layers import ClassHead, ConvUnit, resized
from nnunet_spine_ext.networks.backbones.network import BackboneNetwork
from nnunet_spine_ext.networks.backbones.norms import Norm
from nnunet_spine_ext.networks.backbones.options import BackboneOptions
from nnunet_spine_ext.networks.blocks.channel_attention import ChannelAttention
from nnunet_spine_ext.networks.blocks.position_attention import PositionAttention
from nnunet_spine_ext.networks.initialization import he_initialize
from nnunet_spine_ext.networks.slice_network import AuxTerm

BRANCH_WEIGHT = 1.0
"""Of the loss of each branch's own head, where the sum's has 1."""


@dataclass(frozen=True, kw_only=True)
class DANetOptions(BackboneOptions):
    """What a DANet is made of."""

    aux: bool = True
    """A head on each branch, for training."""
    attention: Literal["both", "position", "channel", "none"] = "both"
    """Which branches attend; the others keep their convolutions alone, to measure what attention adds."""
    width: int = 512
    """Channels of each branch."""


PAPER_003 = DANetOptions(output_stride=32, aux=False)
"""The form whose size and cost paper 003's table states; the paper mentions no further losses."""


class Branch(nn.Sequential):
    """3x3 unit, attention, 3x3 unit."""

    def __init__(self, inputs: int, width: int, *, attention: nn.Module, norm: Norm) -> None:
        super().__init__(ConvUnit(inputs, width, norm=norm), attention, ConvUnit(width, width, norm=norm))


class DANet(BackboneNetwork):
    """Encoder and two branches of attention; slices of any size (see `BackboneNetwork`)."""

    options_class = DANetOptions
    options: DANetOptions
    aux_on_encoder = False

    def build(self, num_classes: int) -> None:
        """Make the branches and their heads."""
        o = self.options
        inputs, width, norm = self.encoder.channels[-1], o.width, o.norm
        by_position = PositionAttention(width) if o.attention in ("both", "position") else nn.Identity()
        by_channel = ChannelAttention() if o.attention in ("both", "channel") else nn.Identity()
        self.position = Branch(inputs, width, attention=by_position, norm=norm)
        self.channel = Branch(inputs, width, attention=by_channel, norm=norm)
        self.head = ClassHead(width, num_classes)
        if self.aux:
            self.position_head = ClassHead(width, num_classes)
            self.channel_head = ClassHead(width, num_classes)

    @classmethod
    def auxiliary(cls, options: Mapping[str, Any]) -> tuple[AuxTerm, ...]:
        """Return the terms of the two branches' heads, if these options have them: position, channel."""
        return (AuxTerm("seg", BRANCH_WEIGHT),) * 2 if DANetOptions.of(options).aux else ()

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Initialise one module; `apply` comes to a module after its parts."""
        he_initialize(module)
        if isinstance(module, PositionAttention):
            module.initialize_scores()

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, K, H, W) of x (B, C, H, W); in training with further heads a list of three."""
        size = x.shape[2:]
        features = self.encoder(x)[-1]
        position, channel = self.position(features), self.channel(features)
        main = resized(self.head(position + channel), size)
        if not (self.aux and self.training):
            return main
        return [main, resized(self.position_head(position), size), resized(self.channel_head(channel), size)]


def paper_danet(
    *,
    encoder: str = "resnet101",
    output_stride: int = 8,
    input_channels: int = 1,
    num_classes: int = 20,
) -> DANet:
    """Return the published form, for slices of one channel and the 20 classes of paper 003."""
    options = {"encoder": encoder, "output_stride": output_stride}
    return DANet(input_channels=input_channels, num_classes=num_classes, options=options)
