"""Small networks in nnU-Net's words, and a real step of theirs, with data, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from nnunet_spine_ext.planning.real_step import RealStep

FEATURES = (8, 16, 32, 64)
CLASSES = 4


def words(dims: int, *, thick_slices: bool = False) -> dict[str, Any]:
    """The arguments of a four-stage U-shape; with thick slices, two stages work in the plane only."""
    stages = len(FEATURES)
    if thick_slices:
        kernels = [[1, 3, 3]] * 2 + [[3, 3, 3]] * 2
        strides = [[1, 1, 1]] + [[1, 2, 2]] * 2 + [[2, 2, 2]]
    else:
        kernels = [[3] * dims] * stages
        strides = [[1] * dims] + [[2] * dims] * (stages - 1)
    return {
        "input_channels": 1,
        "n_stages": stages,
        "features_per_stage": FEATURES,
        "conv_op": {2: nn.Conv2d, 3: nn.Conv3d}[dims],
        "kernel_sizes": kernels,
        "strides": strides,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "num_classes": CLASSES,
        "conv_bias": True,
        "norm_op": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dims],
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": True,
    }


def plain(dims: int = 3, *, thick_slices: bool = False) -> nn.Module:
    return PlainConvUNet(**words(dims, thick_slices=thick_slices), n_conv_per_stage=[2] * len(FEATURES))


def residual(dims: int = 3, *, thick_slices: bool = False) -> nn.Module:
    return ResidualEncoderUNet(**words(dims, thick_slices=thick_slices), n_blocks_per_stage=[1, 2, 2, 2])


def hybrid(dims: int = 3, *, thick_slices: bool = False, **options: Any) -> nn.Module:
    from nnunet_spine_ext.networks.hybrid import SpineHybrid

    return SpineHybrid(
        **words(dims, thick_slices=thick_slices), n_conv_per_stage=[2] * len(FEATURES), options=options or None
    )


def real_step(
    network: nn.Module, *, patch: Sequence[int], batch: int, loss: Callable[[Any, Any], torch.Tensor]
) -> RealStep:
    """One training step of a network of this file, with data."""
    return RealStep(network, patch=patch, batch=batch, classes=CLASSES, loss=loss)
