"""Recomputation of functions that contain a BatchNorm, without touching its running statistics twice.

A plain `torch.utils.checkpoint` runs the function twice in training, and so updates the running mean and variance
twice. Here the second run leaves them alone, so that results, gradients and state are equal with and without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed_with_state(function: Callable[..., Tensor], *tensors: Tensor, state: nn.Module, when: bool) -> Tensor:
    """Return `function(*tensors)`; when `when`, autograd keeps only `tensors` and runs `function` again in backward.

    Args:
        function: deterministic (no dropout).
        tensors: its inputs.
        state: the modules whose running statistics `function` updates.
        when: whether to recompute; outside training (no gradients) nothing is kept anyway.
    """
    if not (when and torch.is_grad_enabled()):
        return function(*tensors)
    if torch.compiler.is_compiling():
        # The compiler traces the function once and repeats what is pure of it; the update of statistics is not.
        return checkpoint(function, *tensors, use_reentrant=False, preserve_rng_state=False)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _untouched_statistics(state)

    result: Tensor = checkpoint(function, *tensors, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
    return result


@contextmanager
def _untouched_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise by the batch and leave the running statistics as they are: a momentum of 0 moves nothing."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked = count
