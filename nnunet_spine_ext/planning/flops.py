"""Floating-point operations of a training step, as torch's FlopCounterMode counts but for grouped convolutions.

Torch 2.15 counts the gradient of a weight as if there were no groups: C times too much for a depthwise convolution.
Each of the two gradients of a convolution has as many operations as the convolution itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count


def flops_of(step: Callable[[], object]) -> int:
    """Return the floating-point operations of `step`; a multiplication and its addition are two."""
    mapping = {torch.ops.aten.convolution_backward: _backward_flops}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        step()
    return int(counter.get_total_flops())


def _backward_flops(
    gradient: Sequence[int],
    x: Sequence[int],
    weight: Sequence[int],
    *others: Any,  # noqa: ANN401  (the rest of the operator's arguments)
    out_shape: object,  # noqa: ARG001  (torch passes it)
) -> int:
    *_, transposed, _output_padding, _groups, wanted = others
    forward = conv_flop_count(list(x), list(weight), list(gradient), transposed=bool(transposed))
    return int(forward) * sum(bool(w) for w in list(wanted)[:2])
