"""Small networks in nnU-Net's words, and independent counts of a real step of theirs, with data, on the CPU."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

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


class RealStep:
    """One training step with data: network, image, and targets for each output."""

    def __init__(
        self, network: nn.Module, *, patch: Sequence[int], batch: int, loss: Callable[[Any, Any], torch.Tensor]
    ) -> None:
        self.network, self.loss = network.train(), loss
        self.image = torch.randn(batch, 1, *patch)
        with torch.no_grad():
            shapes = [output.shape for output in network(self.image)]
        self.targets = [torch.randint(0, CLASSES, (s[0], 1, *s[2:])).to(torch.int16) for s in shapes]
        self.given = [*network.parameters(), *network.buffers(), self.image, *self.targets]

    def saved_bytes(self) -> int:
        """Bytes of the storages that autograd holds after the forward pass, without weights, image and targets."""
        held = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            held.append(tensor.detach())
            return held[-1]

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = self.loss(self.network(self.image), self.targets)
        assert torch.isfinite(loss)
        given = {tensor.data_ptr() for tensor in self.given}
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}
        return sum(count for start, count in storages.items() if start not in given)

    def peak_bytes(self) -> int:
        """The most that torch's CPU allocator handed out at once during the step, over what was there before."""
        gc.collect()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            outputs = self.network(self.image)
            loss = self.loss(outputs, self.targets)
            loss.backward()
        events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
        now = peak = sum(t.numel() * t.element_size() for t in self.given)
        for event in sorted(events, key=lambda e: e.start_ns()):
            now += event.nbytes()
            peak = max(peak, now)
        return peak
