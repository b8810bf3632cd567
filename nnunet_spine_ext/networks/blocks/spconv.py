"""SPConv, the split convolution: full attention to half of the channels, a 1x1 convolution for the redundant rest.

    x = (r, u)      r: the first ⌊C/2⌋ channels (representative), u: the rest (redundant)
    a = norm(conv_k, 2 groups (r) + conv_1 (r)),      b = norm(conv_1 (u))
    y = w a + (1 - w) b,      w = softmax over (mean a, mean b), one weight for each image and channel

Source: Zhang et al., "Split to be slim", IJCAI 2020, with α = 1/2; 3.25 C O + 5 O weights for a 3x3 kernel (a plain
convolution has 9 C O). The softmax of two is written as the sigmoid of their difference.

The two norms: after an InstanceNorm the mean of every map is that norm's bias, whatever the image, and w could not
depend on the image. Where the plan has InstanceNorm, these two are GroupNorm with one group: also per image, but the
channels keep their means.

Six maps would be kept for the backward pass where a plain convolution with norm keeps two. Norms and fusion are
computed again in backward instead (two maps less), unless a norm has running statistics, which that would change twice.

Axes: B batch, C O channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from nnunet_spine_ext.networks.blocks.axes import Shape, same_padding
from nnunet_spine_ext.networks.blocks.layers import Conv, GroupNorm1, Layers
from nnunet_spine_ext.networks.blocks.recompute import has_state, recomputed
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError

GROUPS = 2


class SPConv(nn.Module):
    """SPConv with stride 1, as the published code has it; no nonlinearity inside.

    Args:
        inputs: C; its half must be even.
        outputs: O, even.
        kernel: of the representative half, odd.
        layers: of the plan; `conv_bias` is that of the redundant half (published: with bias).
        recompute: norms and fusion in backward where possible, instead of keeping their maps; results are equal.

    Raises:
        NetworkPlanError: widths that do not split.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Shape, *, layers: Layers, recompute: bool = True) -> None:
        super().__init__()
        self.split = [inputs // 2, inputs - inputs // 2]
        if self.split[0] == 0 or self.split[0] % GROUPS or outputs % GROUPS:
            raise NetworkPlanError(
                f"SPConv from {inputs} to {outputs} channels: half of the input and the output must be even. "
                "Plan widths that are multiples of 4."
            )
        op: type[Conv] = nn.Conv3d if layers.axes.dims == 3 else nn.Conv2d
        self.grouped = op(
            self.split[0], outputs, kernel, padding=same_padding(kernel), groups=GROUPS, bias=False  # type: ignore[arg-type]
        )  # fmt: skip
        one = layers.axes.space(1)
        self.pointwise = layers.conv(self.split[0], outputs, one, bias=False)
        self.redundant = layers.conv(self.split[1], outputs, one, bias=layers.conv_bias)
        self.norms = nn.ModuleList(_norm(outputs, layers=layers) for _ in range(2))
        self.recompute = recompute and not has_state(self.norms)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x (B, C, ...), of shape (B, O, ...)."""
        representative, redundant = torch.split(x, self.split, dim=1)
        wide = self.grouped(representative) + self.pointwise(representative)
        return recomputed(self._mixed, wide, self.redundant(redundant), when=self.recompute and self.training)

    def _mixed(self, wide: Tensor, narrow: Tensor) -> Tensor:
        """Return the weighted sum of both halves' outputs."""
        a, b = self.norms[0](wide), self.norms[1](narrow)
        weight = torch.sigmoid(_means(a) - _means(b)).to(a.dtype)
        mixed: Tensor = a * weight + b * (1 - weight)
        return mixed


def _norm(channels: int, *, layers: Layers) -> nn.Module:
    op = layers.norm_op
    if isinstance(op, type) and issubclass(op, _InstanceNorm):
        return GroupNorm1(channels)
    return layers.norm(channels)


def _means(x: Tensor) -> Tensor:
    """Return the mean of each map, summed in at least float32, with axes of length 1 for space."""
    space = tuple(range(2, x.dim()))
    return x.mean(space, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
