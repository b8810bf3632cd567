"""Which label a voxel gets, from the logits of one output channel after the other.

nnU-Net takes the arg-max over all channels at once, or applies region after region to all of them; both need one
channel at a time only. Results are equal to nnU-Net's to the last voxel: the first of several equal logits wins, and
NaN wins over every number, as in numpy's argmax.

Axes: any shape, the same for every channel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CHUNK = 1 << 14
"""Voxels worked on at once: they stay in the processor's cache, and are too few for torch to start threads."""


class Decision(ABC):
    """Labels of a block of voxels, complete once every channel was added in order."""

    labels: Tensor

    @abstractmethod
    def add(self, channel: int, logits: Tensor) -> None:
        """Take the next channel into account; channels come in nnU-Net's order, from 0."""


MakeDecision = Callable[[Sequence[int]], Decision]
"""Starts the decision of a block of this shape."""


class Largest(Decision):
    """The channel with the largest logit; the first of them where several are equal."""

    def __init__(self, shape: Sequence[int], *, channels: int) -> None:
        self.labels = torch.zeros(tuple(shape), dtype=torch.uint8 if channels <= 256 else torch.int32)
        self._largest: Tensor | None = None

    def add(self, channel: int, logits: Tensor) -> None:
        """See the base class."""
        if self._largest is None:
            self._largest = logits.reshape(-1).clone()
            return
        for new, largest, labels in _chunks(logits, self._largest, self.labels):
            # The second half is for NaN: a new one wins, unless one was there before.
            better = (new <= largest).logical_or_(largest != largest).logical_not_()
            labels.masked_fill_(better, channel)
            torch.maximum(largest, new, out=largest)


class LastRegion(Decision):
    """The last region, in nnU-Net's `regions_class_order`, whose probability is above one half; else 0.

    Where a logit lies within 1e-6 of zero, nnU-Net's own result depends on how torch splits its array among threads.
    """

    def __init__(self, shape: Sequence[int], *, class_order: Sequence[int]) -> None:
        self.labels = torch.zeros(tuple(shape), dtype=torch.uint8 if max(class_order) < 256 else torch.int32)
        self._class_order = tuple(class_order)

    def add(self, channel: int, logits: Tensor) -> None:
        """See the base class."""
        for new, labels in _chunks(logits, self.labels):
            labels.masked_fill_(torch.sigmoid(new.float()) > 0.5, self._class_order[channel])


def _chunks(*tensors: Tensor) -> zip[tuple[Tensor, ...]]:
    return zip(*(torch.split(tensor.reshape(-1), CHUNK) for tensor in tensors), strict=True)
