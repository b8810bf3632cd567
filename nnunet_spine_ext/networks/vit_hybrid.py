"""The hybrid encoder of TransUNet: a ResNet to 1/16 of the size, then a Vision Transformer over its last map.

The ResNet (weight-standardised convolutions and GroupNorm: Kolesnikov et al. 2020, arXiv:1912.11370) and the
transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) are timm's (Apache-2.0), built without weights: nothing is
downloaded. With the default options the module's weights are those of timm's "vit_base_r50_s16_224", by the same names.

The transformer has a learnt vector for each position of its map, so it is built for one size of slices.

Axes: B batch, C channels, H W = the axes of a slice, N = H W / 256 positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from timm.layers.hybrid_embed import HybridEmbed
from timm.layers.std_conv import StdConv2dSame
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

STRIDE = 16
"""Size of the slices over that of the transformer's map."""


def resnet(input_channels: int, *, blocks: Sequence[int], width: int) -> ResNetV2:
    """Return the ResNet with `blocks` at 1/4, 1/8 and 1/16, `width` channels in its stem and 4, 8, 16 times as many."""
    network = ResNetV2(
        layers=list(blocks),
        channels=(4 * width, 8 * width, 16 * width),
        stem_chs=width,
        num_classes=0,
        global_pool="",
        in_chans=input_channels,
        preact=False,
        stem_type="same",
        conv_layer=partial(StdConv2dSame, eps=1e-8),
    )
    # timm's HybridEmbed expects another kind of list there, and takes the last width without one.
    del network.feature_info
    return network


class HybridEncoder(nn.Module):
    """(B, C, H, W) → maps at 1/2, 1/4, 1/8 and 1/16, highest resolution first; H and W are multiples of 16.

    Args:
        input_channels: C.
        size: (H, W).
        blocks: of the ResNet at 1/4, 1/8 and 1/16.
        width: of the ResNet's stem.
        embedding: channels of the transformer's map.
        depth: layers of the transformer; 0 = the ResNet alone, whose last map then is the encoder's.
        heads: of its attention.
        dropout: after the position vectors and in the perceptrons of the transformer.
    """

    channels: tuple[int, ...]
    """Width at each resolution, highest first."""

    def __init__(
        self,
        input_channels: int,
        *,
        size: Sequence[int],
        blocks: Sequence[int],
        width: int,
        embedding: int,
        depth: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        backbone = resnet(input_channels, blocks=blocks, width=width)
        self.tied = depth > 0
        self.channels = (width, 4 * width, 8 * width, embedding if self.tied else 16 * width)
        if not self.tied:
            self.resnet: Any = backbone
            return
        grid = (size[0] // STRIDE, size[1] // STRIDE)
        self.transformer: Any = VisionTransformer(
            img_size=(size[0], size[1]),
            patch_size=1,
            in_chans=input_channels,
            num_classes=0,
            global_pool="",
            class_token=False,
            embed_dim=embedding,
            depth=depth,
            num_heads=heads,
            pos_drop_rate=dropout,
            proj_drop_rate=dropout,
            embed_layer=partial(HybridEmbed, backbone=backbone, feature_size=grid),
        )
        for block in self._blocks():
            # Published: no dropout in the attention, nor after it.
            block.attn.proj_drop.p = 0.0

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps; the last one from the transformer, if there is one."""
        if not self.tied:
            return self._maps(self.resnet, x)
        maps = self._maps(self.transformer.patch_embed.backbone, x)
        grid = maps[-1].shape[2:]
        tokens = self.transformer.patch_embed.proj(maps[-1]).flatten(2).transpose(1, 2)
        tokens = self.transformer.pos_drop(tokens + self.transformer.pos_embed)
        tokens = self.transformer.norm(self.transformer.blocks(tokens))
        return [*maps[:-1], tokens.transpose(1, 2).unflatten(2, grid)]

    def _blocks(self) -> list[Any]:
        return list(self.transformer.blocks)

    @staticmethod
    def _maps(resnet: Any, x: Tensor) -> list[Tensor]:  # noqa: ANN401
        maps: list[Tensor] = resnet.forward_intermediates(x, intermediates_only=True)
        return maps
