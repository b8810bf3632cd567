"""Keep less for the backward pass: recompute what is cheap to compute and large to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable[..., Tensor], *tensors: Tensor, when: bool, state: nn.Module | None = None) -> Tensor:
    """Return `function(*tensors)`; when `when`, autograd keeps only `tensors` and runs `function` again in backward.

    Outside training (no gradients) nothing is kept anyway and `function` is simply called.

    Args:
        function: deterministic (no dropout), and without other state than that of `state`.
        tensors: its inputs.
        when: whether to recompute.
        state: the modules whose running statistics (of BatchNorm) `function` updates. A plain second run would update
            them twice; here it leaves them alone, so that results, gradients and state are equal with and without.
    """
    if not (when and torch.is_grad_enabled()):
        return function(*tensors)
    result: Tensor
    if state is None or torch.compiler.is_compiling():
        # The compiler traces the function once and repeats what is pure of it; the update of statistics is not.
        result = checkpoint(function, *tensors, use_reentrant=False, preserve_rng_state=False)
        return result

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _untouched_statistics(state)

    result = checkpoint(function, *tensors, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
    return result


def has_state(module: nn.Module) -> bool:
    """Whether a second run of `module` would differ or change it: dropout, or running statistics (BatchNorm)."""
    return any(isinstance(m, _DropoutNd) for m in module.modules()) or any(True for _ in module.buffers())


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
