"""A convolution that a 1x1 convolution follows, with nothing between them, as one convolution.

    mix(conv(x)) = Σ_o mix[k, o] · (Σ_i w[o, i] * x[i] + b[o]) = (mix w) * x + mix b

Exact up to rounding, for any padding and dilation, because the 1x1 convolution looks at one voxel only. The maps
between the two are never made: autograd keeps x alone, and a mix to few channels makes the convolution that much
cheaper.

Axes: B batch, C channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from nnunet_spine_ext.networks.blocks.layers import Conv
from nnunet_spine_ext.networks.blocks.precision import without_autocast


def mixed_convolution(x: Tensor, conv: Conv, mix: Tensor) -> Tensor:
    """Return Σ_o mix[:, o] · conv(x)[o], of shape (B, K, ...).

    Args:
        x: (B, C, ...).
        conv: C → O channels with bias; it is not called, its weights are read.
        mix: (K, O, 1, ...), the weight of a 1x1 convolution O → K, or the part of it that reads this convolution.
    """
    # In the precision of the weights: rounding them twice would cost more than the folding saves.
    with without_autocast(x):
        matrix = mix.flatten(1)
        weight = (matrix @ conv.weight.flatten(1)).view(-1, *conv.weight.shape[1:])
        bias = None if conv.bias is None else matrix @ conv.bias
    convolve = F.conv3d if x.dim() == 5 else F.conv2d
    return convolve(x, weight, bias, conv.stride, conv.padding, conv.dilation)
