"""What an augmentation works on, and what was drawn for it.

Axes: B windows of a batch, C channels of an image, G maps of labels (one; two in a cascade), *S spatial axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Drawn = Mapping[int, Mapping[str, Any]]
"""Parameters as the library's transform drew them, by the index of the window; a window left alone is not in it."""


@dataclass(kw_only=True)
class Windows:
    """A batch on its way through the pipeline, all on one device."""

    image: Tensor
    """(B, C, *S), floating point."""
    labels: Tensor
    """(B, G, *S) of whole numbers, -1 outside of the image; (B, R, *S) of truth values once there are R regions."""
    targets: list[Tensor] | None = None
    """The labels at the scales of deep supervision, each (B, G, *S'); None before, and without it."""
    volumes: tuple[int, int] | None = None
    """C and G before slices were folded into the channels; None while they are not."""

    @property
    def planes(self) -> Tensor:
        """The channels of all windows, (B*C, *S): a view that shares memory with `image`."""
        return self.image.view(-1, *self.image.shape[2:])

    def plane(self, window: int, channel: int) -> int:
        """Return the index of a window's channel in `planes`."""
        return window * self.image.shape[1] + channel


def column(values: object, like: Tensor) -> Tensor:
    """Return N numbers as a tensor that broadcasts over N planes (N, *S) of the given device and precision."""
    made = torch.as_tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)
    return made.view(-1, *[1] * (like.ndim - 1))


def rows(indices: list[int], like: Tensor) -> Tensor:
    """Return indices of planes as a tensor on their device."""
    return torch.tensor(indices).to(like.device, non_blocking=True)
