"""Sums that must not be rounded to half precision."""

from __future__ import annotations

import torch
from torch import Tensor


def without_autocast(x: Tensor) -> torch.autocast:
    """Return a context in which autocast leaves the precision of tensors on the device of x alone.

    Autocast knows no "meta" device, on which networks are counted; nothing is rounded there.
    """
    kind = x.device.type
    return torch.autocast(device_type="cpu" if kind == "meta" else kind, enabled=False)
