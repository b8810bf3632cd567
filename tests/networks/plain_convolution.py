"""A convolution as nested loops over voxels and taps, in numpy: what blocks are compared with."""

from __future__ import annotations

from itertools import product

import numpy as np
from torch import nn


def plain_convolution(x: np.ndarray, conv: nn.Module) -> np.ndarray:
    """Apply a torch convolution of stride 1 and odd kernel to x (C, ...) by its definition: zeros outside."""
    weight = conv.weight.detach().numpy()
    bias = np.zeros(len(weight)) if conv.bias is None else conv.bias.detach().numpy()
    per_group_in, groups = weight.shape[1], conv.groups
    per_group_out = len(weight) // groups
    kernel, dilation = weight.shape[2:], conv.dilation
    size = x.shape[1:]
    y = np.zeros((len(weight), *size))
    for o in range(len(weight)):
        first = (o // per_group_out) * per_group_in
        for voxel in product(*map(range, size)):
            total = bias[o]
            for tap in product(*map(range, kernel)):
                at = tuple(v + d * (t - k // 2) for v, d, t, k in zip(voxel, dilation, tap, kernel, strict=True))
                if all(0 <= a < n for a, n in zip(at, size, strict=True)):
                    for i in range(per_group_in):
                        total += weight[(o, i, *tap)] * x[(first + i, *at)]
            y[(o, *voxel)] = total
    return y
