"""The normalisation of backbone networks: published with BatchNorm, which can be replaced everywhere.

BatchNorm is the default, where the networks of our own take the plan's InstanceNorm: the published encoders have it,
and only with it do their published weights mean anything. `group` and `instance` do not depend on the batch.

Axes: B batch, C channels, H W = the axes of a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

Norm = Literal["batch", "group", "instance"]

_GROUPS = (32, 16, 8, 4, 2, 1)


class GroupNorm(nn.GroupNorm):
    """GroupNorm with 32 groups (Wu and He 2018), or fewer where 32 do not divide the channels.

    Autocast computes it in float32; the result is cast back, or every map after it would be kept at double size.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(next(n for n in _GROUPS if channels % n == 0), channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` of shape (B, C, H, W)."""
        return super().forward(x).to(x.dtype)


def norm_layer(norm: Norm, channels: int, *, momentum: float = 0.1) -> nn.Module:
    """Return the normalisation of `channels`; `momentum` of the running statistics has a meaning for `batch` only."""
    if norm == "group":
        return GroupNorm(channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return nn.BatchNorm2d(channels, momentum=momentum)


def has_single_value(norm: Norm, map_size: Sequence[int], *, batch: int) -> bool:
    """Return whether maps of `map_size` (H, W) leave the norm one value a channel, on which it cannot train."""
    values = map_size[0] * map_size[1] * (1 if norm == "instance" else batch)
    return values < 2 and norm != "group"


def replace_norms(module: nn.Module, norm: Norm) -> int:
    """Replace every BatchNorm inside a timm model in place, and return how many there were.

    timm's BatchNorm that contains its nonlinearity is taken apart in any case: it is a BatchNorm by its class, so
    torch's conversion to SyncBatchNorm, which nnU-Net applies for training on several GPUs, would drop the nonlinearity
    without a word.
    """
    found = 0
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, _replaced(child, norm))
            found += 1
        else:
            found += replace_norms(child, norm)
    return found


def _replaced(old: nn.BatchNorm2d, norm: Norm) -> nn.Module:
    plain = type(old) is nn.BatchNorm2d
    if plain and norm == "batch":
        return old
    new = norm_layer(norm, old.num_features)
    if isinstance(new, (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)):
        new.eps = old.eps
    if plain:
        return new
    return nn.Sequential(new, getattr(old, "drop", nn.Identity()), getattr(old, "act", nn.Identity()))
