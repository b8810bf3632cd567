"""TransUNet (Chen et al. 2021, arXiv:2102.04306): a U-Net whose bottom is a Vision Transformer.

Encoder (`vit_hybrid.py`): ResNet-50 to 1/16 of the size, ViT-B with 12 layers over its last map. Decoder (the paper's
"cascaded upsampler"): 3x3 unit to 512 channels, then four times: twice the size, beside the encoder's map of that size
(there is none at full size), two 3x3 units, to 256, 128, 64 and 16 channels; a 3x3 convolution to the classes.

The transformer's position vectors tie the network to one size of slices: it is built for the patch of a plan, and takes
no other; nnU-Net's sliding window gives it no others. A patch that is no multiple of 16 is padded inside, below and
right, and the logits are cropped. The published network keeps a table of 14 x 14 positions, made for 224 x 224.

`attention="none"` leaves the transformer out: what remains is the "R50-U-Net" that the paper compares with. It takes
slices of any size.

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunet_spine_ext.networks.backbones.layers import ConvUnit, resized
from nnunet_spine_ext.networks.backbones.norms import Norm
from nnunet_spine_ext.networks.initialization import he_initialize
from nnunet_spine_ext.networks.options import NetworkOptions, is_count
from nnunet_spine_ext.networks.slice_network import SliceNetwork
from nnunet_spine_ext.networks.slice_patch import check_patch, check_statistics, slice_patch
from nnunet_spine_ext.networks.vit_hybrid import STRIDE, HybridEncoder

_GROUPS = 32
"""Of the ResNet's GroupNorm; its width is a multiple."""


@dataclass(frozen=True, kw_only=True)
class TransUNetOptions(NetworkOptions):
    """What a TransUNet is made of; the defaults are the paper's.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    attention: Literal["transformer", "none"] = "transformer"
    """`none`: the same network without the transformer, to measure what it adds."""
    blocks: tuple[int, ...] = (3, 4, 9)
    """Of the ResNet at 1/4, 1/8 and 1/16."""
    width: int = 64
    """Channels of the ResNet's stem and of the decoder at half the size; a multiple of 32."""
    embedding: int = 768
    """Channels of the transformer."""
    depth: int = 12
    """Layers of the transformer."""
    heads: int = 12
    """Of its attention; they divide `embedding`."""
    dropout: float = 0.1
    """In the transformer."""
    norm: Norm = "batch"
    """Of the decoder."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        super().__post_init__()

    def wrong_values(self) -> list[str]:
        """Return a message for each number that is not allowed."""
        found = []
        if len(self.blocks) != 3 or not all(map(is_count, self.blocks)):
            found.append(f"blocks is {self.blocks}, expected three whole numbers of at least 1")
        if is_count(self.width) and self.width % _GROUPS:
            found.append(f"width is {self.width!r}, expected a multiple of {_GROUPS}")
        if is_count(self.embedding) and is_count(self.heads) and self.embedding % self.heads:
            found.append(f"{self.heads} heads do not divide an embedding of {self.embedding}")
        if not 0 <= self.dropout < 1:
            found.append(f"dropout is {self.dropout!r}, expected at least 0 and less than 1")
        return found


class UpBlock(nn.Module):
    """Bilinear to a size, beside the encoder's map of that size if there is one, two 3x3 units."""

    def __init__(self, inputs: int, skip: int, outputs: int, *, norm: Norm) -> None:
        super().__init__()
        self.convs = nn.Sequential(ConvUnit(inputs + skip, outputs, norm=norm), ConvUnit(outputs, outputs, norm=norm))

    def forward(self, x: Tensor, skip: Tensor | None, size: Sequence[int]) -> Tensor:
        """Return (B, outputs, ...) of `size` (H, W)."""
        x = resized(x, size)
        up: Tensor = self.convs(x if skip is None else torch.cat((x, skip), dim=1))
        return up


class CascadedUpsampler(nn.Module):
    """The decoder: maps of an encoder, highest resolution first → logits at the size of the slices."""

    def __init__(self, channels: Sequence[int], width: int, num_classes: int, *, norm: Norm) -> None:
        super().__init__()
        widths = (8 * width, 4 * width, 2 * width, width, width // 4)
        skips = (*reversed(channels[:-1]), 0)
        self.squeeze = ConvUnit(channels[-1], widths[0], norm=norm)
        self.blocks = nn.ModuleList(
            UpBlock(inputs, skip, outputs, norm=norm)
            for inputs, skip, outputs in zip(widths[:-1], skips, widths[1:], strict=True)
        )
        self.seg_layers = nn.Conv2d(widths[-1], num_classes, 3, padding=1)

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return logits of `size` (H, W)."""
        *skips, x = maps
        x = self.squeeze(x)
        for block, skip in zip(self.blocks, (*reversed(skips), None), strict=True):
            x = block(x, skip, size if skip is None else skip.shape[2:])
        logits: Tensor = self.seg_layers(x)
        return logits


class TransUNet(SliceNetwork):
    """Hybrid encoder and cascaded upsampler, for slices of `patch_size` only.

    Args:
        input_channels: channels of the image.
        num_classes: logits for each voxel.
        patch_size: (H, W) of the slices.
        options: of the network, as such or in JSON form.

    Raises:
        NetworkPlanError: no patch size; in forward, slices of another size.
    """

    initialize = staticmethod(he_initialize)

    def __init__(
        self,
        *,
        input_channels: int,
        num_classes: int,
        patch_size: Sequence[int],
        options: TransUNetOptions | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        chosen = TransUNetOptions.of(options)
        self.patch_size = slice_patch(patch_size, network="TransUNet")
        self.norm = chosen.norm
        self.encoder = HybridEncoder(
            input_channels,
            size=[-(-n // STRIDE) * STRIDE for n in self.patch_size],
            blocks=chosen.blocks,
            width=chosen.width,
            embedding=chosen.embedding,
            depth=chosen.depth if chosen.attention == "transformer" else 0,
            heads=chosen.heads,
            dropout=chosen.dropout,
        )
        self.upsampler = CascadedUpsampler(self.encoder.channels, chosen.width, num_classes, norm=chosen.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of x (B, C, H, W).

        Raises:
            NetworkPlanError: x has not the size that the network was built for.
        """
        if self.encoder.tied:
            check_patch(x, self.patch_size, network="TransUNet")
        rows, columns = x.shape[2:]
        below, right = -rows % STRIDE, -columns % STRIDE
        if below or right:
            x = functional.pad(x, (0, right, 0, below))
        if self.training:
            small = (x.shape[2] // STRIDE, x.shape[3] // STRIDE)
            check_statistics(small, batch=x.shape[0], norm=self.norm, network="TransUNet", where="the transformer")
        logits: Tensor = self.upsampler(self.encoder(x), x.shape[2:])
        return logits[:, :, :rows, :columns]


def paper_transunet(
    *,
    patch_size: Sequence[int] = (224, 224),
    input_channels: int = 1,
    num_classes: int = 20,
) -> TransUNet:
    """Return the published form for a size of slices, for one channel and the 20 classes of paper 003."""
    return TransUNet(input_channels=input_channels, num_classes=num_classes, patch_size=patch_size)
