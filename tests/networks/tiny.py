"""Small plans and helpers for the tests of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Axes
from nnunet_spine_ext.networks.blocks.layers import Layers

THICK = Axes(dims=3, has_through_plane=True)
CUBIC = Axes(dims=3, has_through_plane=False)
FLAT = Axes(dims=2, has_through_plane=False)

INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


@dataclass(frozen=True)
class TinyPlan:
    """The words of a plan with few and narrow stages, and a patch that fits."""

    patch: tuple[int, ...]
    kernels: list[list[int]]
    strides: list[list[int]]

    def words(self, **changed: Any) -> dict[str, Any]:
        dims, stages = len(self.patch), len(self.strides)
        return {
            "n_stages": stages,
            "features_per_stage": [4, 8, 16, 16, 16][:stages],
            "conv_op": nn.Conv3d if dims == 3 else nn.Conv2d,
            "kernel_sizes": self.kernels,
            "strides": self.strides,
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": INSTANCE_NORM[dims],
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": nn.LeakyReLU,
            "nonlin_kwargs": {"inplace": True},
            **changed,
        }

    def image(self, *, batch: int = 1, channels: int = 1) -> Tensor:
        return torch.randn(batch, channels, *self.patch)


def thick(*patch: int, stages: int) -> TinyPlan:
    """Thick slices: the plane is halved in every stage, the slices never."""
    aniso, full = [1, 3, 3], [3, 3, 3]
    return TinyPlan(patch, [aniso] * (stages - 1) + [full], [[1, 1, 1]] + [[1, 2, 2]] * (stages - 1))


# nnU-Net's plans for thick-slice spines (in the plane an eighth, and fewer stages), and others' shapes.
PLANS = {
    "6 slices": thick(6, 64, 64, stages=5),
    "4 slices": thick(4, 16, 24, stages=3),
    "5 slices": thick(5, 16, 16, stages=3),
    "12 slices": thick(12, 16, 16, stages=3),
    "halved through the plane": TinyPlan((8, 40, 24), [[1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3]],
                                         [[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 2]]),
    "through-plane axis last": TinyPlan((16, 16, 5), [[3, 3, 1], [3, 3, 1], [3, 3, 3]],
                                        [[1, 1, 1], [2, 2, 1], [2, 2, 1]]),
    "isotropic": TinyPlan((16, 16, 16), [[3, 3, 3]] * 3, [[1, 1, 1]] + [[2, 2, 2]] * 2),
    "2d": TinyPlan((48, 32), [[3, 3]] * 4, [[1, 1]] + [[2, 2]] * 3),
}  # fmt: skip
SMALL = PLANS["5 slices"]


def layers(axes: Axes, **changed: Any) -> Layers:
    """The default choices of nnU-Net."""
    words = TinyPlan((1,) * axes.dims, [], []).words(**changed)
    names = ("conv_bias", "norm_op", "norm_op_kwargs", "nonlin", "nonlin_kwargs")
    chosen = {name: words[name] for name in names}
    return Layers(
        axes=axes, dropout_op=words["dropout_op"], dropout_op_kwargs=words["dropout_op_kwargs"] or {}, **chosen
    )


def randomise(module: nn.Module) -> None:
    """Give every parameter random values: norms and biases start at 1 and 0, which would hide mistakes."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)


def gradients(output: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of a fixed random projection of `output`."""
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(output.shape, generator=generator, dtype=output.dtype)
    return list(torch.autograd.grad((output * weights).sum(), inputs))


def kept_bytes(network: nn.Module, *images: Tensor) -> int:
    """Bytes that autograd keeps between forward and backward, without the parameters."""
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(*images)
    return sum(t.untyped_storage().nbytes() for pointer, t in kept.items() if pointer not in weights)
