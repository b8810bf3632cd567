"""What every network on a published encoder can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nnunet_spine_ext.networks.backbones.norms import Norm
from nnunet_spine_ext.networks.options import NetworkOptions


@dataclass(frozen=True, kw_only=True)
class BackboneOptions(NetworkOptions):
    """Encoder and norm; the head adds its own.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    encoder: str = "resnet101"
    """A name of `encoder.BackboneEncoder`."""
    output_stride: Literal[8, 16, 32] = 16
    """Size of the image over that of the encoder's last map; 8 costs about four times 16."""
    aux: bool = False
    """A second head for training, on the encoder's last map but one."""
    norm: Norm = "batch"
    """Of encoder and head. `batch` as published, `group` and `instance` for batches of one."""

    @property
    def last_dilations(self) -> tuple[int, ...]:
        """Dilations of the blocks of a ResNet's last stage; () leaves the encoder's own. Hook."""
        return ()

    def wrong_values(self) -> list[str]:
        """Return a message for a name that is none."""
        if isinstance(self.encoder, str) and self.encoder:
            return []
        return [f"encoder is {self.encoder!r}, expected a name"]

    def wrong_pooled_norm(self, pooled_norm: bool) -> list[str]:
        """Return a message for a norm on the pooled branch that can never be trained there."""
        if pooled_norm and self.norm == "instance":
            return ["pooled_norm=True cannot be trained with norm='instance': one value is left of each channel"]
        return []
