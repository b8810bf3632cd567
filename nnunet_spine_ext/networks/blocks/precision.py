"""Sums over many positions, which must not be rounded to half precision: never less than float32."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Return x in float32 if it has half precision (float16 overflows at 65 504), else x itself."""
    return x.float() if x.element_size() < 4 else x


def without_autocast(x: Tensor) -> torch.autocast:
    """Return a context in which autocast leaves the precision of tensors on the device of x alone.

    Autocast knows no "meta" device, on which networks are counted; nothing is rounded there.
    """
    kind = x.device.type
    return torch.autocast(device_type="cpu" if kind == "meta" else kind, enabled=False)
