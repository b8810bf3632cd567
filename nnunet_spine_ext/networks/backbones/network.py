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
    """A subclass says its options' class, adds its head (`build`), and gives `logits` of the encoder's maps.

    The further head, if the options ask for it, is on the encoder's last map but one. It is always built, so that
    weights do not depend on training or prediction. Other further outputs: override `auxiliary` and `forward`.

    Args:
        input_channels: channels of the image.
        num_classes: logits for each voxel.
        patch_size: (H, W) of the slices; without effect on a network that takes any size.
        options: of the network, as such or in JSON form.

    Raises:
        NetworkPlanError: (a ValueError) options that are not allowed, or an encoder that does not exist; in training,
            slices that leave a norm a single value.
    """

    options_class: ClassVar[type[BackboneOptions]] = BackboneOptions
    aux_on_encoder: ClassVar[bool] = True
    """Whether the further head is on the encoder; else the network builds those that its `auxiliary` names."""
    options: BackboneOptions
    initialize = staticmethod(he_initialize)

    def __init__(
        self,
        *,
        input_channels: int,
        num_classes: int,
        patch_size: Sequence[int] = (),
        options: BackboneOptions | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.options = self.options_class.of(options)
        self.patch_size = tuple(patch_size)
        self.encoder = self.make_encoder(input_channels)
        self.aux = self.auxiliary(self.options.as_json())
        if self.aux and self.aux_on_encoder:
            self.aux_head = AuxHead(self.encoder.channels[-2], num_classes, norm=self.options.norm)
        self.build(num_classes)

    def make_encoder(self, input_channels: int) -> BackboneEncoder:
        """Return the encoder. Hook."""
        return BackboneEncoder(
            self.options.encoder,
            input_channels=input_channels,
            output_stride=self.options.output_stride,
            norm=self.options.norm,
            last_dilations=self.options.last_dilations,
        )

    def build(self, num_classes: int) -> None:
        """Make what follows the encoder. Hook."""
        raise NotImplementedError

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
