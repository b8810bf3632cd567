"""A network that takes the words of any U-Net plan and does next to nothing with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn


class _Decoder(nn.Module):
    def __init__(self, conv_op: type[nn.Module], channels: int, classes: int, outputs: int) -> None:
        super().__init__()
        self.deep_supervision = False
        self.seg_layers = nn.ModuleList(conv_op(channels, classes, 1) for _ in range(outputs))


class StubNetwork(nn.Module):
    """One convolution and a head for each scale of the plan; remembers its options."""

    def __init__(
        self,
        *,
        input_channels: int,
        num_classes: int,
        conv_op: type[nn.Module],
        strides: Sequence[Sequence[int]],
        deep_supervision: bool = False,
        options: Mapping[str, object] | None = None,
        **words: object,
    ) -> None:
        super().__init__()
        self.options, self.words = dict(options or {}), words
        self.strides = strides[:-1]
        self.initialised = 0
        self.conv = conv_op(input_channels, 4, 3, padding=1)
        self.decoder = _Decoder(conv_op, 4, num_classes, len(self.strides))
        self.decoder.deep_supervision = deep_supervision

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        features, outputs = self.conv(x), []
        for stride, head in zip(self.strides, reversed(self.decoder.seg_layers), strict=True):
            features = features[(slice(None), slice(None), *(slice(None, None, s) for s in stride))]
            outputs.append(head(features))
        return outputs if self.decoder.deep_supervision else outputs[0]

    @staticmethod
    def initialize(module: nn.Module) -> None:
        if isinstance(module, StubNetwork):
            module.initialised += 1
