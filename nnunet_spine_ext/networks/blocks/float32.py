"""The precision of sums over many positions: never less than float32."""

from __future__ import annotations

from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Return x in float32 if it has half precision (float16 overflows at 65 504), else x itself."""
    return x.float() if x.element_size() < 4 else x
