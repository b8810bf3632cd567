"""SpineUNet: one U-Net on any plan, of which ten networks of papers 001 to 004 are options.

    input → stage → pool → stage → … → bottom            stage: the plan's convolutions (`block` puts others in place)
              │              │            │              pool: max-pooling by the plan's stride
             skip           skip          up             up: `up`; skip: `skip`
              └─ concat ← up ┴─ concat ←──┘              concat: (skip, up)
                   └ stage      └ stage → 1x1 head       heads: at every resolution, for deep supervision

Sources, all written anew from descriptions and published counts; no code was copied:
 - paper 001: UNet (ReLU after the transposed convolution) and UNet_BN, on five slices and two coordinate maps, which
   the adapter for slices adds (`slices`).
 - paper 002: CT U-Net versions 1 to 5: plain convolutions, SPConv (`blocks/spconv.py`), RA skips
   (`blocks/residual_attention.py`), CIE and MFE around the convolutions (`blocks/cie.py`, `blocks/mfe.py`).
 - paper 003: U-Net with bilinear up-sampling, Attention U-Net (`blocks/attention_gate.py`).
 - paper 004: U-Net-2D and U-Net-3D.

Mended here, against the papers' code:
 1. Paper 002's RA convolutions were created outside the module's registration: random, never trained, never saved. Its
    numbers for versions 4 and 5 are those of untrained attention. Here they are registered, trained and saved.
 2. Where sizes differed by rounding, paper 002 resized features to the skip. A plan's patch divides exactly, and any
    other size is refused with the divisor (`check_size`).

What the words of a plan mean here:
 - `kernel_sizes[s]`: of every convolution of stage s, in encoder and decoder; MFE pools with it, and CIE dilates only
   the axes where it is more than 1. `strides[s]`: of the max-pooling before stage s, and of the way back up.
 - `n_conv_per_stage`, `n_conv_per_stage_decoder`: convolutions, as in nnU-Net's own networks; up-sampling is not one.
 - `conv_bias`: of convolutions that a norm follows; the others always have one (the 1x1 before SPConv has none, which
   the published network shows).
 - `norm_op`, `nonlin`, `dropout_op`: in every convolution → dropout → norm → nonlinearity unit, unless `UNetOptions`
   says otherwise. CIE, MFE and RA have no norm, as published. SPConv's own norms: see there.

InstanceNorm raises in train mode on a map of one voxel. Whether there is one depends on the patch, not on these words.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan, K classes.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from nnunet_spine_ext.networks.blocks.cie import CIE
from nnunet_spine_ext.networks.blocks.mfe import MFE
from nnunet_spine_ext.networks.initialization import he_initialize
from nnunet_spine_ext.networks.planned import Planned, PlannedNetwork
from nnunet_spine_ext.networks.planned_options import PlannedOptions
from nnunet_spine_ext.networks.unet_options import UNetOptions
from nnunet_spine_ext.networks.unet_stages import UNetDecoder, UNetEncoder, UNetParts

__all__ = ["SpineUNet", "UNetOptions"]


class SpineUNet(PlannedNetwork):
    """The U-Nets of papers 001 to 004 for any plan of nnU-Net (see `PlannedNetwork` for words, output and errors)."""

    options_type: ClassVar[type[PlannedOptions]] = UNetOptions
    options: UNetOptions
    encoder: UNetEncoder
    decoder: UNetDecoder

    def build(self, plan: Planned) -> None:
        """Make encoder and decoder."""
        parts = UNetParts(plan=plan, options=self.options)
        self.encoder = UNetEncoder(parts)
        self.decoder = UNetDecoder(parts)

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Initialise one module; nnU-Net calls `network.apply(network.initialize)`, which takes inner modules first."""
        he_initialize(module)
        if isinstance(module, (CIE, MFE)):
            _initialize_linear(module)


def _initialize_linear(block: CIE | MFE) -> None:
    """Draw weights that keep the variance: He's factor of 2 makes up for a nonlinearity, and these have none.

    With it CIE would multiply the variance of its input by 4 to 5, and MFE by 8, which no norm takes back before the
    last head; so each doubles it.
    """
    for module in block.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
