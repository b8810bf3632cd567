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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Axes, Shape
from nnunet_spine_ext.networks.blocks.cie import CIE
from nnunet_spine_ext.networks.blocks.layers import Factory, Layers
from nnunet_spine_ext.networks.blocks.mfe import MFE
from nnunet_spine_ext.networks.initialization import he_initialize
from nnunet_spine_ext.networks.plan_shape import (
    NetworkPlanError,
    PerStage,
    PerStagePerAxis,
    PlanShape,
    check_size,
    per_stage,
)
from nnunet_spine_ext.networks.unet_options import UNetOptions
from nnunet_spine_ext.networks.unet_stages import UNetDecoder, UNetEncoder, UNetParts

__all__ = ["SpineUNet", "UNetOptions"]

BATCH_NORM: Mapping[int, Factory] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class SpineUNet(nn.Module):
    """The U-Nets of papers 001 to 004 for any plan of nnU-Net, 2D and 3D.

    Takes the words of dynamic-network-architectures, so a plans file can name it by dotted path; `options` may then be
    the JSON form of `UNetOptions`. Output: logits (B, K, D, H, W) at the input's size; while
    `decoder.deep_supervision` is on, a list of n_stages - 1 of them, highest resolution first, at nnU-Net's default
    scales.

    Raises:
        NetworkPlanError: (a ValueError) words or options that do not fit together; in forward, a size that the strides
            do not divide.
    """

    def __init__(
        self,
        *,
        input_channels: int,
        n_stages: int,
        features_per_stage: PerStage,
        conv_op: type[nn.Module],
        kernel_sizes: PerStagePerAxis,
        strides: PerStagePerAxis,
        n_conv_per_stage: PerStage,
        n_conv_per_stage_decoder: PerStage,
        num_classes: int,
        conv_bias: bool = False,
        norm_op: Factory | None = None,
        norm_op_kwargs: Mapping[str, Any] | None = None,
        dropout_op: Factory | None = None,
        dropout_op_kwargs: Mapping[str, Any] | None = None,
        nonlin: Factory | None = None,
        nonlin_kwargs: Mapping[str, Any] | None = None,
        deep_supervision: bool = False,
        options: UNetOptions | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.options = UNetOptions.of(options)
        shape = PlanShape.from_words(
            n_stages=n_stages,
            features_per_stage=self.options.features or features_per_stage,
            conv_op=conv_op,
            kernel_sizes=kernel_sizes,
            strides=strides,
        )
        if deep_supervision and self.options.heads == "full":
            raise NetworkPlanError(
                "heads='full' leaves no output to supervise at lower resolutions. Train with deep supervision off "
                "(a PaperTrainer), or with heads='every'."
            )
        self.divisor = shape.divisor
        layers = _layers(
            self.options,
            Layers(
                # No kernel is read from these axes: each stage has the plan's own.
                axes=Axes(dims=shape.dims, has_through_plane=False),
                conv_bias=conv_bias,
                norm_op=norm_op,
                norm_op_kwargs=norm_op_kwargs or {},
                dropout_op=dropout_op,
                dropout_op_kwargs=dropout_op_kwargs or {},
                nonlin=nonlin,
                nonlin_kwargs=nonlin_kwargs or {},
            ),
        )
        parts = UNetParts(
            features=shape.features,
            kernels=_odd(_stages(kernel_sizes, n_stages, shape.dims)),
            strides=_stages(strides, n_stages, shape.dims),
            layers=layers,
            options=self.options,
        )
        convs = per_stage(n_conv_per_stage, n_stages, word="n_conv_per_stage")
        convs_up = per_stage(n_conv_per_stage_decoder, n_stages - 1, word="n_conv_per_stage_decoder")
        self.encoder = UNetEncoder(input_channels, parts=parts, convs=convs)
        self.decoder = UNetDecoder(num_classes, parts=parts, convs=convs_up, deep_supervision=deep_supervision)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits for x (B, C, D, H, W), or (B, C, H, W) in 2D."""
        check_size(x.shape[2:], self.divisor)
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]

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


def _layers(options: UNetOptions, plan: Layers) -> Layers:
    """Return the plan's choices of layers, changed as the options say."""
    changed: dict[str, Any] = {}
    if options.norm == "batch":
        changed |= {"norm_op": BATCH_NORM[plan.axes.dims], "norm_op_kwargs": {}}
    if options.norm == "none":
        changed |= {"norm_op": None, "norm_op_kwargs": {}}
    if options.activation == "relu":
        changed |= {"nonlin": nn.ReLU, "nonlin_kwargs": {"inplace": True}}
    if options.bias != "plan":
        changed["conv_bias"] = options.bias == "yes"
    layers = replace(plan, **changed)
    # Without a norm the bias is the only offset that a convolution has.
    return layers if layers.norm_op else replace(layers, conv_bias=True)


def _stages(value: PerStagePerAxis, stages: int, dims: int) -> tuple[Shape, ...]:
    """Return `kernel_sizes` or `strides`, which `PlanShape` has checked, as one tuple for each stage."""
    rows: Sequence[int | Sequence[int]] = [value] * stages if isinstance(value, int) else value
    return tuple((row,) * dims if isinstance(row, int) else tuple(int(n) for n in row) for row in rows)


def _odd(kernels: tuple[Shape, ...]) -> tuple[Shape, ...]:
    if any(k % 2 == 0 for kernel in kernels for k in kernel):
        raise NetworkPlanError(f"kernel_sizes is {kernels}; this network takes odd kernels, which keep the size.")
    return kernels
