"""A 2D network on 3D patches: slice by slice, with neighbouring slices and coordinates as channels if asked.

Stock nnU-Net cuts 2D patches out of single slices, in training and in prediction alike, so neighbours must come with
a 3D patch and be unfolded inside the network (paper 001 stacks five slices and two coordinate maps).

    x (B, C, D, H, W) → (B D, C (2 n + 1) [+ 2], H, W) → network → (B, K, D, H, W)

Channels: for each channel of the image the slices z-n … z+n, then the row coordinate, then the column coordinate. The
slices at the ends stand in for those beyond. Coordinates run from 0 to 1 over the *patch*: they tell where in the image
a voxel is only if the patch covers the image in the plane.

Axes: B batch, C channels, D = the axis of the slices, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.options import NetworkOptions
from nnunet_spine_ext.networks.plan_shape import through_plane_axis
from nnunet_spine_ext.networks.slice_network import AuxTerm

PLANE_CLASSES: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Conv3d: nn.Conv2d,
    nn.InstanceNorm3d: nn.InstanceNorm2d,
    nn.BatchNorm3d: nn.BatchNorm2d,
    nn.Dropout3d: nn.Dropout2d,
}
"""Classes that a 3D plan may name, and what stands for them in a slice."""


@dataclass(frozen=True, kw_only=True)
class SliceOptions(NetworkOptions):
    """What a 2D network sees besides the slice itself."""

    least: ClassVar[Mapping[str, int]] = {"neighbours": 0}

    neighbours: int = 0
    """Slices on each side; in a 2D patch there are none."""
    coordinates: bool = False
    """Two more channels: the position in the patch along H and along W, 0 to 1."""


class SliceWise(nn.Module):
    """Runs `network`, which takes slices, on patches; made with `around` and completed with `wrap`."""

    network: nn.Module

    def __init__(self, *, neighbours: int, coordinates: bool, axis: int | None) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.coordinates = coordinates
        self.axis = axis

    @classmethod
    def around(cls, options: SliceOptions, *, axis: int | None) -> SliceWise:
        """Return an adapter, still without network, for patches with slices along `axis`, or 2D patches (None)."""
        return cls(neighbours=0 if axis is None else options.neighbours, coordinates=options.coordinates, axis=axis)

    def channels(self, input_channels: int) -> int:
        """Return the channels that the network gets for an image of `input_channels`."""
        return input_channels * (2 * self.neighbours + 1) + 2 * self.coordinates

    def wrap(self, network: nn.Module) -> SliceWise:
        """Take the network that was built for `channels`."""
        self.network = network
        return self

    @property
    def decoder(self) -> nn.Module:
        """The network's decoder, on which nnU-Net switches deep supervision."""
        decoder: nn.Module = self.network.decoder  # type: ignore[assignment]
        return decoder

    @property
    def aux(self) -> tuple[AuxTerm, ...]:
        """The network's further outputs in training."""
        return getattr(self.network, "aux", ())

    @property
    def initialize(self) -> Callable[[nn.Module], None]:
        """The network's own initialisation of a module."""
        initialize: Callable[[nn.Module], None] = self.network.initialize  # type: ignore[assignment]
        return initialize

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits for x (B, C, D, H, W), or (B, C, H, W) for 2D patches; lists as the network gives them."""
        if self.axis is None:
            return self.network(self._with_coordinates(x))  # type: ignore[no-any-return]
        x = x.movedim(2 + self.axis, 2)
        batch, depth = x.shape[0], x.shape[2]
        outputs = self.network(self._with_coordinates(self._slices(x)))
        if isinstance(outputs, list):
            return [self._stacked(one, batch, depth) for one in outputs]
        return self._stacked(outputs, batch, depth)

    def _slices(self, x: Tensor) -> Tensor:
        """Return (B D, C (2 n + 1), H, W): every slice with its neighbours, those of one channel side by side."""
        depth, reach = x.shape[2], self.neighbours
        positions = torch.arange(depth, device=x.device)
        shifted = [x[:, :, (positions + step).clamp(0, depth - 1)] for step in range(-reach, reach + 1)]
        windows = torch.stack(shifted, dim=2).flatten(1, 2) if reach else x
        return windows.transpose(1, 2).flatten(0, 1)

    def _with_coordinates(self, x: Tensor) -> Tensor:
        if not self.coordinates:
            return x
        (rows, columns), size = x.shape[2:], (x.shape[0], 1, *x.shape[2:])
        y = torch.linspace(0, 1, rows, dtype=x.dtype, device=x.device).view(1, 1, -1, 1).expand(size)
        across = torch.linspace(0, 1, columns, dtype=x.dtype, device=x.device).view(1, 1, 1, -1).expand(size)
        return torch.cat((x, y, across), dim=1)

    def _stacked(self, planes: Tensor, batch: int, depth: int) -> Tensor:
        """Return (B D, K, H, W) as (B, K, D, H, W), in the plan's order of axes."""
        volume = planes.view(batch, depth, *planes.shape[1:]).transpose(1, 2)
        # nnU-Net adds up overlapping predictions in place.
        return volume.movedim(2, 2 + (self.axis or 0)).contiguous()


def slicing_axis(words: Mapping[str, Any]) -> int:
    """Return the axis along which a 3D plan is taken slice by slice: through the planes, or the first."""
    return through_plane_axis(words["kernel_sizes"], words["strides"]) or 0


def plane_words(words: Mapping[str, Any], axis: int) -> dict[str, Any]:
    """Return the words of a 3D plan for one slice of it; those of a 2D plan as they are."""
    if words["conv_op"] is nn.Conv2d:
        return dict(words)
    changed = {name: PLANE_CLASSES.get(value, value) for name, value in words.items() if isinstance(value, type)}
    kernels, strides = (_without(words[name], axis) for name in ("kernel_sizes", "strides"))
    return {**words, **changed, "kernel_sizes": kernels, "strides": strides}


def _without(rows: Sequence[Sequence[int]], axis: int) -> list[list[int]]:
    return [[n for i, n in enumerate(row) if i != axis] for row in rows]
