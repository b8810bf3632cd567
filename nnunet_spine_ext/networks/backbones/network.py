"""The base of networks with a published encoder: encoder, head, and a further head for training.

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from nnunet_spine_ext.networks.backbones.encoder import BackboneEncoder
from nnunet_spine_ext.networks.backbones.layers import AuxHead, resized
from nnunet_spine_ext.networks.backbones.options import BackboneOptions
from nnunet_spine_ext.networks.initialization import he_initialize
from nnunet_spine_ext.networks.slice_network import AuxTerm, SliceNetwork

AUX_WEIGHT = 0.4
"""Of the further head's loss, where the main head's has 1 (Zhao et al. 2017)."""


class BackboneNetwork(SliceNetwork):
    """A subclass says its options' class, adds its head, and gives `logits` of the encoder's maps.

    The further head, if the options ask for it, is on the encoder's last map but one. It is always built, so that
    weights do not depend on training or prediction. Other further outputs: override `auxiliary` and `forward`.

    Args:
        options: of the subclass.
        input_channels: channels of the image.
        num_classes: logits for each voxel.
        encoder: one already built, where the defaults will not do.
    """

    options_class: ClassVar[type[BackboneOptions]] = BackboneOptions
    initialize = staticmethod(he_initialize)

    def __init__(
        self,
        options: BackboneOptions,
        *,
        input_channels: int,
        num_classes: int,
        encoder: BackboneEncoder | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder or BackboneEncoder(
            options.encoder, input_channels=input_channels, output_stride=options.output_stride, norm=options.norm
        )
        self.aux = self.auxiliary(options.as_json())
        if self.aux:
            self.aux_head = AuxHead(self.encoder.channels[-2], num_classes, norm=options.norm)

    @classmethod
    def auxiliary(cls, options: Mapping[str, Any]) -> tuple[AuxTerm, ...]:
        """Return the further head's term, if these options have one."""
        return (AuxTerm("seg", AUX_WEIGHT),) if cls.options_class.of(options).aux else ()

    def logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return logits (B, K, ...) of any size for the encoder's five maps of slices of `size` (H, W)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, K, H, W) of x (B, C, H, W); in training with a further head a list of two."""
        size = x.shape[2:]
        features = self.encoder(x)
        main = resized(self.logits(features, size), size)
        if not (self.aux and self.training):
            return main
        return [main, resized(self.aux_head(features[-2]), size)]
