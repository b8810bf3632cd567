"""nnU-Net's resampling of logits to the original image, cut into parts that do not need one another.

Each of nnU-Net's resampling functions treats every channel by itself. Thick slices ("separate z") it also resamples one
by one in their plane, before it repeats or drops whole slices; so there a slice of one channel is the smallest part.
The parts are computed by nnU-Net's own function, called as it calls it, on less.

Axes: arrays are K (channels) and the three axes of the plan, 0 1 2.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import (
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)
from nnunetv2.preprocessing.resampling.no_resampling import no_resampling_hack
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet
from numpy.typing import NDArray

PER_CHANNEL = (resample_data_or_seg_to_shape, resample_torch_fornnunet, no_resampling_hack)
"""nnU-Net's functions that are known to treat every channel by itself."""

Array = NDArray[Any]
Function = partial[Any]
"""One of them, with the keywords of the plan."""


def why_not_per_channel(function: Function) -> str | None:
    """Return why a plan's resampling of probabilities cannot be cut into channels; None if it can."""
    name = getattr(getattr(function, "func", None), "__name__", str(function))
    if getattr(function, "func", None) not in PER_CHANNEL:
        return f"the plan resamples probabilities by {name}"
    if _keywords(function).get("is_seg"):
        return "the plan resamples probabilities as if they were label maps"
    return None


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How the logits of one case come to the shape of its image."""

    function: Function
    source_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    source_spacing: tuple[float, ...]
    target_spacing: tuple[float, ...]
    axis: int | None
    """Slices across this axis are resampled by themselves; None: only whole channels are."""
    sources: tuple[int, ...] = ()
    """For each target slice across that axis the source slice that it shows."""

    @classmethod
    def of(
        cls,
        function: Function,
        *,
        source_shape: Sequence[int],
        target_shape: Sequence[int],
        source_spacing: Sequence[float],
        target_spacing: Sequence[float],
    ) -> Resampling:
        """Find the smallest parts.

        Args:
            function: a plan's `resampling_fn_probabilities`, for which `why_not_per_channel` has no reason.
            source_shape: of the logits, without channels.
            target_shape: of the image after cropping.
            source_spacing: mm, as nnU-Net passes it.
            target_spacing: mm, as nnU-Net passes it.
        """
        source = tuple(int(n) for n in source_shape)
        kept = function.func is no_resampling_hack
        whole = cls(
            function=function,
            source_shape=source,
            target_shape=source if kept else tuple(int(n) for n in target_shape),
            source_spacing=tuple(source_spacing),
            target_spacing=tuple(target_spacing),
            axis=None,
        )
        axis = whole._separate_axis()
        return whole if axis is None else replace(whole, axis=axis, sources=whole._sources(axis))

    @property
    def slice_shape(self) -> tuple[int, ...]:
        """Shape of one target slice: 1 voxel across the axis."""
        return tuple(1 if i == self.axis else n for i, n in enumerate(self.target_shape))

    def channel(self, logits: Array, channel: int) -> Array:
        """Resample one channel; returns the target shape."""
        resampled: Array = self._call(logits[channel : channel + 1], self.target_shape)[0]
        return resampled

    def slice_of_channel(self, logits: Array, channel: int, source: int) -> Array:
        """Resample one source slice of one channel; returns `slice_shape`."""
        assert self.axis is not None
        part = [slice(channel, channel + 1), slice(None), slice(None), slice(None)]
        part[self.axis + 1] = slice(source, source + 1)
        resampled: Array = self._call(logits[tuple(part)], self.slice_shape)[0]
        return resampled

    def _call(self, logits: Array, shape: tuple[int, ...]) -> Array:
        return np.asarray(self.function(logits, shape, self.source_spacing, self.target_spacing))

    def _separate_axis(self) -> int | None:
        if self.source_shape == self.target_shape:
            return 0  # nothing is resampled: any axis will do
        if self.function.func is not resample_data_or_seg_to_shape:
            return None
        words = _keywords(self.function)
        separate, axis = determine_do_sep_z_and_axis(
            words["force_separate_z"],
            self.source_spacing,
            self.target_spacing,
            words["separate_z_anisotropy_threshold"],
        )
        if not separate or axis is None:
            return None
        axis = int(axis)
        # Between slices, order 0 shows whole slices; a higher order mixes them.
        return axis if words["order_z"] == 0 or self.source_shape[axis] == self.target_shape[axis] else None

    def _sources(self, axis: int) -> tuple[int, ...]:
        """Ask nnU-Net's function which slice it shows where: a column of slice numbers goes through it."""
        before, after = self.source_shape[axis], self.target_shape[axis]
        if before == after:
            return tuple(range(before))
        column = np.moveaxis(np.arange(before, dtype=np.float64)[None, :, None, None], 1, axis + 1)
        shape = tuple(after if i == axis else 1 for i in range(3))
        return tuple(int(n) for n in self._call(column, shape).reshape(-1))


def _keywords(function: Function) -> Mapping[str, Any]:
    """Return every keyword of a partial, with the value it will have."""
    return {name: given.default for name, given in inspect.signature(function).parameters.items()}
