"""Published encoders as one module: a name, five resolutions, an output stride.

The encoders are timm's (Apache-2.0), built without weights: nothing is downloaded. DenseNets are our own
(`densenet.py`), since timm's have no dilation. What differs from the published networks:

* the norm is BatchNorm as published, where our own networks take the plan's InstanceNorm (`norms.py` says why); it can
  be replaced by GroupNorm or InstanceNorm;
* the scales of norms begin with 1, those at the end of residual blocks with 0.1. With 1, as published, gradients
  explode over a hundred layers of random weights (Inf-Net: a norm of 50 000 at the start, 190 with 0.1) and the stored
  statistics lag far behind; with 0, as timm has it, half of the weights have no gradient in the first step. Published
  weights bring their own;
* a dilated stage's first block has the dilation of the stage before (torchvision, timm), where hszhao/semseg gives all
  blocks the full one. Sizes and counts do not depend on it; `last_dilations` sets those of the last stage by hand.

Axes: B batch, C channels, H W = the axes of a slice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import timm
from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.densenet import DENSENETS, DenseNetEncoder
from nnunet_spine_ext.networks.backbones.norms import Norm, has_single_value, replace_norms
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError

logger = logging.getLogger(__name__)

RESOLUTIONS = 5
"""1/2 (after the first convolutions), 1/4, 1/8, 1/16, 1/32: with an output stride of 8 or 16 the last are that."""

RESIDUAL_SCALE = 0.1
"""Of the last norm in each residual block, at the start."""

_NORMS = (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)


class BackboneEncoder(nn.Module):
    """Maps an image to features at five resolutions.

    Args:
        name: of the encoder: resnet18/26/34/50/101, resnet101s (three 3x3 convolutions in the stem),
            resnext50_32x4d, res2net101d, res2net101_26w_4s, densenet121/161/169/201, or another that timm knows.
        input_channels: channels of the image.
        output_stride: size of the image over that of the last map: 8, 16 or 32. Strides beyond it become dilation.
        norm: `batch` as published, `group` or `instance`.
        last_dilations: of the 3x3 convolutions in each block of a ResNet's last stage ("multi-grid"), where the
            published network has others than the stage's rate; the last one goes on to the end.
        final_norm: a DenseNet's norm after its last block; other encoders have none.
        recompute: keep less of a DenseNet for the backward pass; no effect on others.

    Raises:
        NetworkPlanError: timm has no such encoder, or not with this output stride or with five resolutions.
    """

    channels: tuple[int, ...]
    """Width at each resolution, highest first."""
    output_stride: int
    norm: Norm

    def __init__(
        self,
        name: str,
        *,
        input_channels: int,
        output_stride: int = 16,
        norm: Norm = "batch",
        last_dilations: Sequence[int] = (),
        final_norm: bool = True,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        if name in DENSENETS:
            self.network: nn.Module = DenseNetEncoder(
                name,
                input_channels=input_channels,
                output_stride=output_stride,
                norm=norm,
                final_norm=final_norm,
                recompute=recompute,
            )
            self.channels = self.network.channels
        else:
            self.network, self.channels = _from_timm(name, input_channels=input_channels, output_stride=output_stride)
            if not replace_norms(self.network, norm) and norm != "batch":
                logger.warning("The encoder %s has no BatchNorm; norm=%r changes nothing in it.", name, norm)
        _begin_scales(self.network)
        if last_dilations:
            _dilate_last_stage(self.network, name, last_dilations)
        self.output_stride = output_stride
        self.norm = norm

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of x (B, C, H, W), highest resolution first; sizes are rounded up.

        Raises:
            NetworkPlanError: in training, a last map of a single voxel, which BatchNorm and InstanceNorm cannot take.
        """
        if self.training:
            self._check_statistics(x)
        return list(self.network(x))

    def _check_statistics(self, x: Tensor) -> None:
        last_map = [-(-n // self.output_stride) for n in x.shape[2:]]
        if has_single_value(self.norm, last_map, batch=x.shape[0]):
            raise NetworkPlanError(
                f"Slices of {tuple(x.shape[2:])} leave one voxel at output stride {self.output_stride}, and the norm "
                f"{self.norm!r} cannot train on a single value. Use a patch larger than {self.output_stride} in the "
                "plane, a smaller output stride, or norm='group'."
            )


def _from_timm(name: str, *, input_channels: int, output_stride: int) -> tuple[nn.Module, tuple[int, ...]]:
    if not timm.is_model(name):
        raise NetworkPlanError(
            f"timm {timm.__version__} has no encoder {name!r}; it lists its own with timm.list_models()."
        )
    # Most encoders have no such argument for their own stride of 32.
    stride: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
    try:
        network = timm.create_model(name, pretrained=False, features_only=True, in_chans=input_channels, **stride)
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise NetworkPlanError(f"timm's {name} cannot be built with output stride {output_stride}: {error}") from error
    info: Any = network.feature_info
    wanted = [min(2**i, output_stride) for i in range(1, RESOLUTIONS + 1)]
    if list(info.reduction()) != wanted:
        raise NetworkPlanError(
            f"The encoder {name} gives features at strides {list(info.reduction())}, needed are {wanted}. "
            "Use one with a stem of stride 2 and four stages, such as a ResNet."
        )
    return network, tuple(info.channels())


def _begin_scales(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, _NORMS) and module.weight is not None:
            nn.init.ones_(module.weight)
    for block in network.modules():
        if hasattr(block, "zero_init_last"):  # the blocks that timm would begin with 0
            last: Any = getattr(block, "bn3", None) or block.bn2
            nn.init.constant_(last.weight, RESIDUAL_SCALE)


def _dilate_last_stage(network: nn.Module, name: str, dilations: Sequence[int]) -> None:
    stage = getattr(network, "layer4", None)
    if not isinstance(stage, nn.Sequential):
        raise NetworkPlanError(f"The encoder {name} is no ResNet: it has no blocks whose dilations could be set.")
    for i, block in enumerate(stage):
        dilation = dilations[min(i, len(dilations) - 1)]
        for conv in block.modules():
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (dilation, dilation)
