"""SpineUNetPP: UNet++ (Zhou et al., arXiv:1807.10165 and 1912.05074) on any plan, with any number of stages.

    X00 ─ X01 ─ X02 ─ X03 → logits 3          X^{i,j}: convolutions on X^{i,0} … X^{i,j-1} and X^{i+1,j-1} up-sampled
     │  ╱ │  ╱  │  ╱   ↘ logits 1, 2 above X01, X02
    X10 ─ X11 ─ X12                           the decoder of depth d is the diagonal i + j = d, so the U-Nets of
     │  ╱ │  ╱                                depth 1 … L are nested in one another and share their encoder
    X20 ─ X21
     │  ╱
    X30

Every depth has a head of its own, all at full resolution, all trained against the same label with equal weights. So
each of them can predict alone ("pruned": `branch`, or `pruned` for a smaller network), or their mean can.

Written from the papers and from published counts; the authors' code may not be used commercially, and none was copied.

Two things go wrong in integrations into nnU-Net, without an error:
 1. nnU-Net's deep supervision pairs outputs with targets of falling resolution. Paired with one target by its wrapper,
    one branch is trained and the rest never is. So this network needs `training.nested_trainer.NestedTrainer`; the
    stock trainer stops at the first step, because sizes differ.
 2. The branch that is trained and the one that predicts must be the same. Here outputs come deepest first, so that
    `output[0]`, which nnU-Net validates, is what prediction returns.
And in the authors' own nnU-Net (v1) the grid was written out for five poolings, and kernels were one level off.

The dense nodes never concatenate (`blocks/parts_conv.py`); the gain is in the tests.

What the words of a plan mean here:
 - `kernel_sizes[i]`: of every convolution of row i; at least 3 on an axis that a convolution strides.
 - `strides[i]`: of the first convolution of stage i (or of max-pooling), and of the transposed convolutions back up.
 - `n_conv_per_stage`, `n_conv_per_stage_decoder`: convolutions of a stage and of a node.
 - `conv_bias`, `norm_op`, `dropout_op`, `nonlin`: as in nnU-Net's own networks.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan, K classes.
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import ClassVar

from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError, check_size
from nnunet_spine_ext.networks.planned import Planned, PlannedNetwork, PlannedOptions, plain_words
from nnunet_spine_ext.networks.unetpp_options import UNetPPOptions
from nnunet_spine_ext.networks.unetpp_stages import UNetPPDecoder, UNetPPEncoder

__all__ = ["SpineUNetPP", "UNetPPOptions", "paper_unetpp", "pruned"]


class SpineUNetPP(PlannedNetwork):
    """UNet++ for any plan of nnU-Net, 2D and 3D (see `PlannedNetwork` for words and errors).

    Output: logits (B, K, D, H, W) at the input's size; while `decoder.deep_supervision` is on, a list of n_stages - 1
    of them, all at the input's size, the deepest first (fewer with `max_nest_depth`). `decoder.branch` and
    `decoder.average` may be set at any time, to predict with another branch or with the mean.
    """

    options_type: ClassVar[type[PlannedOptions]] = UNetPPOptions
    options: UNetPPOptions
    strides: tuple[Shape, ...]
    encoder: UNetPPEncoder
    decoder: UNetPPDecoder

    def build(self, plan: Planned) -> None:
        """Make the encoder and the nested decoders."""
        self.strides = plan.strides
        self.encoder = UNetPPEncoder(plan, options=self.options)
        self.decoder = UNetPPDecoder(plan, options=self.options)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits for x (B, C, D, H, W), or (B, C, H, W) in 2D."""
        check_size(x.shape[2:], self.divisor)
        return self.decoder(self.encoder(x, self.decoder.depth))  # type: ignore[no-any-return]


def pruned(network: SpineUNetPP, depth: int) -> SpineUNetPP:
    """Return a copy that holds the nested networks up to `depth` alone, and predicts as that branch did.

    Raises:
        NetworkPlanError: no network of that depth is nested.
    """
    if depth not in network.decoder.depths:
        raise NetworkPlanError(f"There is no branch of depth {depth}; there are {network.decoder.depths}.")
    copied = deepcopy(network)
    encoder, decoder = copied.encoder, copied.decoder
    encoder.stages = encoder.stages[: depth + 1]
    decoder.keep(tuple(d for d in decoder.depths if d <= depth))
    copied.strides = copied.strides[: depth + 1]
    copied.divisor = tuple(math.prod(axis) for axis in zip(*copied.strides, strict=True))
    return copied


def paper_unetpp(
    *, depth: int = 4, input_channels: int = 1, num_classes: int = 1, deep_supervision: bool = False
) -> SpineUNetPP:
    """Return the authors' own 2D network: widths 32 … 512, no norm, max-pooling; `depth` 1 to 4 for UNet++ L^1 … L^4.

    9,041,700 weights at depth 4, with one input channel, one class and a head for each of the four depths (published:
    9.04 M).
    """
    network = SpineUNetPP(
        input_channels=input_channels,
        num_classes=num_classes,
        nonlin=nn.ReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=deep_supervision,
        options=UNetPPOptions(down="pool"),
        **plain_words([32 * 2**stage for stage in range(depth + 1)]),
    )
    network.apply(network.initialize)
    return network
