"""Attention of EMANet (Li et al. 2019, arXiv:1907.13426, section 3): few bases stand for all positions.

    f = 1x1 convolution of x; μ = K bases of unit length; three times:
        E  z[n, k] = softmax over k of f_n · μ_k
        M  μ_k = Σ_n f_n z[n, k] / (1e-6 + Σ_n z[n, k]), scaled to unit length
    out = ReLU(x + norm(1x1 convolution of ReLU(Σ_k μ_k z[n, k])))

The iterations and the reconstruction are cut off from the gradient, as published, so nothing teaches the first
convolution: it is frozen here, where DistributedDataParallel would otherwise wait for its gradient. The bases that the
iterations begin with are a buffer, a running mean over what training batches end with. All of it is linear in the
number of positions and takes maps of any size.

Written from the paper and the description of its published form, not from code.

Axes: B batch, C channels, H W = the axes of a slice, N = H W positions, K bases.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from nnunet_spine_ext.networks.backbones.norms import Norm, norm_layer
from nnunet_spine_ext.networks.blocks.precision import at_least_float32, without_autocast

_EPSILON = 1e-6
"""Added to the weight of a base to which no position belongs."""


class ExpectationMaximization(nn.Module):
    """(B, C, H, W) → the same, with what few bases say about each position.

    Args:
        channels: C.
        bases: K.
        iterations: of expectation and maximisation.
        momentum: of the running mean over the bases of training batches.
        norm: after the second convolution.
    """

    bases: Tensor

    def __init__(
        self, channels: int, *, bases: int = 64, iterations: int = 3, momentum: float = 0.9, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        self.iterations = iterations
        self.momentum = momentum
        self.project = nn.Conv2d(channels, channels, 1).requires_grad_(False)
        self.expand = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = norm_layer(norm, channels)
        drawn = torch.randn(1, channels, bases) * math.sqrt(2.0 / bases)
        self.register_buffer("bases", functional.normalize(drawn, dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Return x with the reconstruction from the bases; in training, move the running bases."""
        with torch.no_grad():
            features = at_least_float32(self.project(x)).flatten(2)
            with without_autocast(x):
                start = at_least_float32(self.bases).expand(x.shape[0], -1, -1)
                bases, shares = expectation_maximization(features, start, iterations=self.iterations)
                rebuilt = torch.relu(bases @ shares.transpose(1, 2)).view(x.shape).to(x.dtype)
            if self.training:
                self._move_bases(bases)
        return torch.relu(x + self.norm(self.expand(rebuilt)))

    def _move_bases(self, bases: Tensor) -> None:
        mean = bases.mean(dim=0, keepdim=True)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(mean)
            mean = mean / distributed.get_world_size()
        self.bases.lerp_(mean.to(self.bases.dtype), 1.0 - self.momentum)


def expectation_maximization(features: Tensor, bases: Tensor, *, iterations: int) -> tuple[Tensor, Tensor]:
    """Return the bases (B, C, K) and the shares (B, N, K) of each position in them, which sum to 1 over K.

    Args:
        features: (B, C, N).
        bases: (B, C, K), to begin with.
        iterations: at least 1.
    """
    shares = features.new_empty(0)
    for _ in range(iterations):
        shares = torch.softmax(features.transpose(1, 2) @ bases, dim=2)
        weights = shares / (_EPSILON + shares.sum(dim=1, keepdim=True))
        bases = functional.normalize(features @ weights, dim=1)
    return bases, shares
