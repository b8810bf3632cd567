"""What must stop a training, with the reason in words: a loss that is not finite, and the layer where that begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import nn

from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.training.network import unwrapped

FLOAT16_MAX = torch.finfo(torch.float16).max


class NonFiniteLossError(SpineExtError):
    """The loss became NaN or infinite."""


class LossNotFinite(Exception):  # noqa: N818  (a signal within a training step, never seen by a user)
    """Leaves a training step before its backward pass."""

    def __init__(self, value: float) -> None:
        super().__init__(value)
        self.value = value


@contextmanager
def leaving_step_at_bad_loss(loss: nn.Module) -> Iterator[None]:
    """Raise `LossNotFinite` as soon as `loss` gives such a value, before the step spoils every weight with it.

    For steps without a gradient scaler, which would pass over them. It reads the value, so it is for the CPU: on a GPU
    each step would wait for it.
    """

    def check(_: nn.Module, __: Any, value: torch.Tensor) -> None:  # noqa: ANN401
        if not torch.isfinite(value):
            raise LossNotFinite(float(value.detach()))

    handle = loss.register_forward_hook(check)
    try:
        yield
    finally:
        handle.remove()


def stop_for_loss(
    value: float,
    *,
    epoch: int,
    iteration: int,
    network: str,
    learning_rate: float,
    half_precision: bool,
    where: str = "",
) -> NoReturn:
    """Raise the error that says where the loss went wrong and what to try.

    Under automatic mixed precision an infinite *gradient* is normal: the scaler skips that step. The loss itself must
    stay finite, in half precision as well.

    Args:
        value: of the loss.
        epoch: from 0.
        iteration: of the epoch, from 0.
        network: its name.
        learning_rate: at that step.
        half_precision: whether the step ran under automatic mixed precision.
        where: a sentence about the layer where it begins (`where_it_begins`).
    """
    precision = "float16 (automatic mixed precision)" if half_precision else "float32"
    raise NonFiniteLossError(
        f"The loss became {value} in epoch {epoch}, iteration {iteration} (network {network}, {precision}, learning "
        f"rate {learning_rate:.3g}). The training stops here; checkpoints written before it are sound.\n"
        + (f"{where}\n" if where else "")
        + "What to try: continue from the last checkpoint with --c; check the images for NaN or absurd values "
        "(nnUNetv2_plan_and_preprocess --verify_dataset_integrity); lower the learning rate (recipe of the trainer)."
    )


def where_it_begins(network: nn.Module, image: torch.Tensor, *, half_precision: bool) -> str:
    """Return a sentence about the first layer that gives a value that is not finite, in one more forward pass.

    Never raises: the search must not hide what it explains.

    Args:
        network: as it was in the step, also wrapped or compiled.
        image: the batch (B, C, ...) of that step.
        half_precision: whether the step ran under automatic mixed precision.
    """
    try:
        return _where_it_begins(unwrapped(network), image, half_precision=half_precision)
    except Exception as error:
        return f"The layer where it begins could not be found ({type(error).__name__}: {error})."


def _where_it_begins(network: nn.Module, image: torch.Tensor, *, half_precision: bool) -> str:
    if not _is_finite(image):
        return "The image batch itself has values that are not finite."
    spoiled = next((name for name, weight in network.named_parameters() if not _is_finite(weight)), None)
    if spoiled is not None:
        return f"The weights are not finite any more, first {spoiled}: an earlier step was too large."
    found = _first_bad_layer(network, image, half_precision=half_precision)
    return found or (
        "Every layer of the network gives finite values for this batch, so it begins in the loss (or is rare: dropout)."
    )


def _first_bad_layer(network: nn.Module, image: torch.Tensor, *, half_precision: bool) -> str:
    """Return a sentence about the first layer, in order of completion, whose output is not finite; "" for none."""
    names = {module: name or "the network" for name, module in network.named_modules()}
    found: list[str] = []

    def look(module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ANN401
        if not found and not all(_is_finite(t) for t in _tensors(output)):
            found.append(_sentence(names[module], module, list(_tensors(inputs))))

    handles = [module.register_forward_hook(look) for module in names]
    try:
        with torch.no_grad(), torch.autocast(image.device.type, enabled=half_precision):
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else ""


def _sentence(name: str, module: nn.Module, inputs: list[torch.Tensor]) -> str:
    kind = type(module).__name__
    if not all(_is_finite(t) for t in inputs):
        parent = name.rpartition(".")[0] or "the network"
        reached = f"what reaches {name} ({kind}) is not finite already"
        return f"It begins between layers: {reached}, by an operation of {parent}."
    largest = max((float(t.detach().abs().max()) for t in inputs if t.numel()), default=0.0)
    sentence = f"It begins in layer {name} ({kind}): the largest magnitude that goes in is {largest:.3g}"
    return f"{sentence}; float16 ends at {FLOAT16_MAX:g}."


def _is_finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _tensors(values: Any) -> Iterator[torch.Tensor]:  # noqa: ANN401  (a tensor, or sequences of them)
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)
