"""Reverse attention of Inf-Net (Fan et al. 2020, arXiv:2004.14133, section III-C): look where nothing was found yet.

    w = 1 - P(any structure), from the logits of the coarser level        out = convs(1x1(w · x) ‖ edge) + those logits

The paper has one structure, P = σ(logit). For several classes P(any structure) is 1 - softmax(logits)[background], so
w = softmax(logits)[background]; nnU-Net's background is class 0.

w has one value for each position and the 1x1 convolution no bias, so the weight can as well be applied after the
convolution, 1x1(w · x) = w · 1x1(x): the map kept for the backward pass has few channels instead of those of x.

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.layers import ConvNorm, resized
from nnunet_spine_ext.networks.backbones.norms import Norm, norm_layer
from nnunet_spine_ext.networks.blocks.precision import at_least_float32

BACKGROUND = 0


class ReverseAttention(nn.Module):
    """Refines the logits of a coarser level at the size of x.

    Args:
        inputs: channels of x.
        width: channels of the convolutions.
        num_classes: K.
        edge_width: channels of the edge map; 0 = there is none.
        kernels: of the convolutions with ReLU, then of the one to the classes.
        reverse: whether to weigh x; without, the refinement is all that is left.
        norm: after each convolution.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        num_classes: int,
        *,
        edge_width: int,
        kernels: tuple[int, ...],
        reverse: bool,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.reverse = reverse
        self.reduce = nn.Conv2d(inputs, width, 1, bias=False)
        self.norm = norm_layer(norm, width)
        *inner, last = kernels
        units: list[nn.Module] = []
        for i, kernel in enumerate(inner):
            units += [ConvNorm(width + (edge_width if i == 0 else 0), width, kernel, norm=norm), nn.ReLU(inplace=True)]
        self.convs = nn.Sequential(*units)
        self.seg_layers = ConvNorm(width, num_classes, last, norm=norm)

    def forward(self, x: Tensor, coarser: Tensor, edge: Tensor | None) -> Tensor:
        """Return logits (B, K, H, W) for x (B, C, H, W), coarser logits and edge features of any size."""
        coarser = resized(coarser, x.shape[2:])
        reduced = self.reduce(x)
        if self.reverse:
            reduced = reduced * background_probability(coarser).to(reduced.dtype)
        reduced = self.norm(reduced)
        if edge is not None:
            reduced = torch.cat((reduced, resized(edge, x.shape[2:])), dim=1)
        refined: Tensor = self.seg_layers(self.convs(reduced))
        return refined + coarser


def background_probability(logits: Tensor) -> Tensor:
    """Return the probability (B, 1, ...) that there is no structure, from logits (B, K, ...).

    K classes with the background first; or the one structure of a region-based training (K = 1).
    """
    logits = at_least_float32(logits)
    if logits.shape[1] == 1:
        return torch.sigmoid(-logits)
    return torch.softmax(logits, dim=1)[:, BACKGROUND : BACKGROUND + 1]
