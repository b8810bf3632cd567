"""Keep less for the backward pass: recompute what is cheap to compute and large to keep."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable[..., Tensor], *tensors: Tensor, when: bool) -> Tensor:
    """Return `function(*tensors)`; when `when`, autograd keeps only `tensors` and runs `function` again in backward.

    `function` must be deterministic and must not change any state: no dropout, no BatchNorm. Outside training (no
    gradients) nothing is kept anyway and `function` is simply called.
    """
    if not (when and torch.is_grad_enabled()):
        return function(*tensors)
    result: Tensor = checkpoint(function, *tensors, use_reentrant=False, preserve_rng_state=False)
    return result


def has_state(module: nn.Module) -> bool:
    """Whether a second run of `module` would differ or change it: dropout, or running statistics (BatchNorm)."""
    return any(isinstance(m, _DropoutNd) for m in module.modules()) or any(True for _ in module.buffers())
