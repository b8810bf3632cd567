"""What a DeepLab network is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nnunet_spine_ext.networks.backbones.options import BackboneOptions


@dataclass(frozen=True, kw_only=True)
class DeepLabOptions(BackboneOptions):
    """Of DeepLabV3 and DeepLabV3+ alike."""

    context: Literal["aspp", "none"] = "aspp"
    """`none`: one 1x1 unit of the same output width instead of the dilated branches, to measure what they add."""
    multi_grid: bool = False
    """Dilations in the ratio 1, 2, 4 in the blocks of a ResNet's last stage, as published; no weight depends on it."""
    width: int = 256
    """Channels of each branch and of the head."""
    pooled_norm: bool = False
    """A norm on the pooled branch as published; training then needs at least two slices in a batch."""

    @property
    def last_dilations(self) -> tuple[int, ...]:
        """Dilations of the blocks of a ResNet's last stage; () leaves the encoder's own."""
        rate = 32 // self.output_stride
        return (rate, 2 * rate, 4 * rate) if self.multi_grid else ()

    def wrong_values(self) -> list[str]:
        """Return a message for a norm that can never be trained."""
        return [*super().wrong_values(), *self.wrong_pooled_norm(self.pooled_norm)]
