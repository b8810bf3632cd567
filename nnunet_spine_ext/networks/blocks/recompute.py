"""Keep less for the backward pass: recompute what is cheap to compute and large to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from inspect import signature
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils import checkpoint as checkpointing
from torch.utils.checkpoint import checkpoint

_SELECTIVE = hasattr(checkpointing, "create_selective_checkpoint_contexts")
"""Torch before 2.5 cannot keep some results of a part and compute the others again."""

# Newer torch asks whether hooks on saved tensors (`save_on_cpu`) see what a selective checkpoint keeps. They shall.
_SEEN_BY_HOOKS: dict[str, Any] = (
    {"respect_saved_tensors_hooks": True} if "respect_saved_tensors_hooks" in signature(checkpoint).parameters else {}
)


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


def recomputed_between_convolutions(function: Callable[..., Tensor], *tensors: Tensor, when: bool) -> Tensor:
    """Return `function(*tensors)`; when `when`, autograd keeps only `tensors` and the results of convolutions.

    Norms, nonlinearities, sums and poolings are computed again in backward, and 1x1 convolutions, which cost a ninth of
    the others or less. The compiler does the same (it is told which results to save), so that what is counted without
    it holds with it. Torch before 2.5 keeps everything.

    Args:
        function: without state (see `has_state`), and such that nothing changes the result of a convolution in place.
        tensors: its inputs.
        when: whether to recompute.
    """
    if not (when and _SELECTIVE and torch.is_grad_enabled()):
        return function(*tensors)
    contexts = partial(checkpointing.create_selective_checkpoint_contexts, _kept_or_again)
    result: Tensor = checkpoint(
        function, *tensors, use_reentrant=False, preserve_rng_state=False, context_fn=contexts, **_SEEN_BY_HOOKS
    )
    return result


class RecomputedBlock(nn.Module):
    """A block that keeps its inputs and the results of its convolutions for backward; the rest is computed again.

    A subclass makes its parts, then sets `recompute`, and says in `compute` what it computes.
    """

    recompute = False

    def forward(self, x: Tensor, *skip: Tensor) -> Tensor:
        """Return the block's output for x (B, C, ...), or for it and `skip` side by side."""
        return recomputed_between_convolutions(self.compute_joined, x, *skip, when=self.recompute and self.training)

    def compute_joined(self, x: Tensor, *skip: Tensor) -> Tensor:
        """Return the same with all maps kept, for a caller who computes more than the block again."""
        return self.compute(torch.cat((x, *skip), dim=1) if skip else x)

    def compute(self, x: Tensor) -> Tensor:
        """Return the block's output for x (B, C, ...)."""
        raise NotImplementedError


def _kept_or_again(_: object, operation: object, *inputs: Any, **__: Any) -> checkpointing.CheckpointPolicy:  # noqa: ANN401
    """Say what happens to the result of one of torch's operations."""
    dear = operation is torch.ops.aten.convolution.default and prod(inputs[1].shape[2:]) > 1  # input, weight, ...
    policy = checkpointing.CheckpointPolicy
    return policy.MUST_SAVE if dear else policy.PREFER_RECOMPUTE


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
