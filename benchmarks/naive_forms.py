"""The networks as they are usually written: the same weights and results, without what the library saves.

Inside `with naive_forms():` every network of the registry computes

* concatenations and one convolution of them, where the library adds up convolutions of the parts: paper 000's link,
  ACC-UNet's neighbourhoods and levels, the nodes of UNet++, ASPP, CIE, MFE;
* repetition to the high resolution before the 1x1 convolution (the shortcut of the hybrid's up-sampling);
* attention as an explicit matrix with softmax (`scaled_dot_product_attention` written out; DANet's positions);
* UX-Net's MLP as grouped convolutions to four times the channels and back, its LayerNorm over channels by formula;
* SPConv's weights by stacking and a softmax;
* nothing twice: what the library computes again in the backward pass is kept.

Reference forms to measure against; equality of values and gradients with the library's, for every network, is tested in
tests/benchmarks/test_naive_forms.py.

Axes: B batch, C channels, D H W = spatial axes 0 1 2, N positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from nnunet_spine_ext.networks.blocks import aspp, position_attention, recompute, resunetpp
from nnunet_spine_ext.networks.blocks.acc_hanc import NeighbourhoodMix, pooled
from nnunet_spine_ext.networks.blocks.channel_norm import EPS, ChannelNorm
from nnunet_spine_ext.networks.blocks.cie import CIE
from nnunet_spine_ext.networks.blocks.hanc import HANCLink
from nnunet_spine_ext.networks.blocks.layers import INV_SQRT2
from nnunet_spine_ext.networks.blocks.mfe import MFE
from nnunet_spine_ext.networks.blocks.mlfc import _Level
from nnunet_spine_ext.networks.blocks.parts_conv import PartsConv
from nnunet_spine_ext.networks.blocks.spconv import SPConv
from nnunet_spine_ext.networks.blocks.upsample import UpBlock
from nnunet_spine_ext.networks.blocks.ux import EXPANSION, UXBlock


@contextmanager
def naive_forms() -> Iterator[None]:
    """Let all networks compute as they are usually written, for as long as the context lasts."""
    forms: list[tuple[Any, str, Callable[..., Any]]] = [
        (recompute, "checkpoint", _kept),
        (HANCLink, "forward", _link),
        (UXBlock, "forward", _ux_block),
        (UpBlock, "forward", _up_block),
        (ChannelNorm, "forward", _channel_norm),
        (NeighbourhoodMix, "forward", _neighbourhoods),
        (_Level, "_gather", _gathered),
        (PartsConv, "forward", _parts),
        (CIE, "forward", _cie),
        (MFE, "forward", _mfe),
        (SPConv, "_mixed", _spconv),
        (aspp, "mixed", _mixed),
        (resunetpp, "mixed", _mixed),
        (position_attention, "attend", _attend),
        (F, "scaled_dot_product_attention", _attention),
    ]
    with ExitStack() as stack:
        for owner, name, form in forms:
            stack.enter_context(mock.patch.object(owner, name, form))
        yield


def _kept(function: Callable[..., Tensor], *tensors: Tensor, **_: object) -> Tensor:
    return function(*tensors)


def _convolve(x: Tensor) -> Callable[..., Tensor]:
    return F.conv3d if x.dim() == 5 else F.conv2d


def _link(self: HANCLink, x: Tensor) -> Tensor:
    """Nine maps side by side, one 1x1 convolution."""
    a = self.expand(x)
    flats = [plane(a) for plane in self.planes]
    maps = [branch(flats[flat]) for (flat, _), branch in zip(self.rods, self.branches, strict=True)]
    windows = [tuple(map(max, self.flats[flat], rod)) for flat, rod in self.rods]
    maps += [_box_max(a, window) for window in windows] + [_box_mean(a, window) for window in windows]
    result: Tensor = (x + self.mix(torch.cat(maps, dim=1))) * INV_SQRT2
    return result


def _box_max(x: Tensor, window: Sequence[int]) -> Tensor:
    pool = F.max_pool3d if x.dim() == 5 else F.max_pool2d
    return pool(x, tuple(window), stride=1, padding=tuple(w // 2 for w in window))


def _box_mean(x: Tensor, window: Sequence[int]) -> Tensor:
    """Return the mean over what of the box lies in the image; torch refuses boxes larger than that, so it is padded."""
    pool = F.avg_pool3d if x.dim() == 5 else F.avg_pool2d
    padding = [n for w in reversed(window) for n in (w // 2, w // 2)]

    def box(y: Tensor) -> Tensor:
        return pool(F.pad(y, padding), tuple(window), stride=1)

    return box(x) / box(torch.ones_like(x[:1, :1]))


def _ux_block(self: UXBlock, x: Tensor) -> Tensor:
    """Depthwise convolution, LayerNorm, two grouped 1x1 convolutions by way of four times the channels."""
    C, ones = x.shape[1], (1,) * (x.dim() - 2)
    y = self.dropout(self.conv(x)).movedim(1, -1)
    y = F.layer_norm(y, self.norm_weight.shape, self.norm_weight, self.norm_bias, EPS).movedim(-1, 1)
    up = self.up_weight.T.reshape(EXPANSION * C, 1, *ones)
    down = self.down_weight.T.reshape(C, EXPANSION, *ones)
    y = F.gelu(_convolve(x)(y, up, self.up_bias.T.reshape(-1), groups=C))
    y = _convolve(x)(y, down, self.down_bias, groups=C)
    return x + (y * self.layer_scale.view(-1, *ones)).to(x.dtype)


def _up_block(self: UpBlock, x: Tensor, *skip: Tensor) -> Tensor:
    """Convolve the shortcut after the repetition, at the high resolution."""
    x = torch.cat((x, *skip), dim=1)
    main: Tensor = self.main(x)
    shortcut: Tensor = self.shortcut(F.interpolate(x, size=main.shape[2:], mode="nearest-exact"))
    return (main + shortcut) * INV_SQRT2


def _channel_norm(self: ChannelNorm, x: Tensor) -> Tensor:
    """By formula, as UX-Net's published code has it where channels come first."""
    ones = (1,) * (x.dim() - 2)
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    normed = (x - mean) / torch.sqrt(variance + EPS)
    return (self.weight.view(-1, *ones) * normed + self.bias.view(-1, *ones)).to(x.dtype)


def _neighbourhoods(self: NeighbourhoodMix, x: Tensor) -> Tensor:
    """All means and maxima at full resolution, side by side, one 1x1 convolution."""
    means, maxima = [x], [x]
    for stride in self.strides:
        means.append(pooled(means[-1], stride))
        maxima.append(pooled(maxima[-1], stride, maximum=True))
    maps = [x, *(_repeated(y, x) for y in (*means[1:], *maxima[1:]))]
    result: Tensor = self.mix(torch.cat(maps, dim=1))
    return result


def _gathered(self: Any, levels: Sequence[Tensor]) -> Tensor:  # noqa: ANN401  (a private module of the library)
    """All levels at one resolution, side by side, one 1x1 convolution."""
    own = levels[self.index]
    result: Tensor = self.gather(torch.cat([_repeated(x, own) for x in levels], dim=1))
    return result


def _repeated(x: Tensor, like: Tensor) -> Tensor:
    return x if x.shape[2:] == like.shape[2:] else F.interpolate(x, size=like.shape[2:], mode="nearest")


def _parts(self: PartsConv, maps: Sequence[Tensor]) -> Tensor:
    result: Tensor = self.conv(torch.cat(list(maps), dim=1))
    return result


def _cie(self: CIE, x: Tensor) -> Tensor:
    result: Tensor = x + self.mix(torch.cat([conv(x) for conv in self.dilated], dim=1))
    return result


def _mfe(self: MFE, x: Tensor) -> Tensor:
    shares = torch.split(self.widen(x), self.shares, dim=1)
    branches = [last(before(share)) for share, before, last in zip(shares, self.before, self.last, strict=True)]
    result: Tensor = x + self.fuse(torch.cat(branches, dim=1))
    return result


def _spconv(self: SPConv, wide: Tensor, narrow: Tensor) -> Tensor:
    space = tuple(range(2, wide.dim()))
    a, b = self.norms[0](wide), self.norms[1](narrow)
    means = torch.stack((a.mean(space, keepdim=True), b.mean(space, keepdim=True)))
    weights = torch.softmax(means, dim=0).to(a.dtype)
    result: Tensor = weights[0] * a + weights[1] * b
    return result


def _mixed(maps: Sequence[Tensor], mix: Any) -> Tensor:  # noqa: ANN401  (a convolution of 2 or 3 dimensions)
    result: Tensor = mix(torch.cat([x.expand(-1, -1, *maps[0].shape[2:]) for x in maps], dim=1))
    return result


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Σ_j softmax_j(q_i · k_j) v_j by the whole matrix; q, k, v: (B, C, N)."""
    weights = torch.softmax(q.transpose(1, 2) @ k, dim=-1)
    return v @ weights.transpose(1, 2)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Compute what torch's operator stands for, with the matrix."""
    assert attn_mask is None and not is_causal, "no network here has a mask"
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    return F.dropout(torch.softmax(scores, dim=-1), dropout_p) @ value
