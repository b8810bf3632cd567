"""The world in which a training step is counted: no data, nnU-Net's precision, any machine.

Networks and losses run on fake tensors (shape, dtype, device, no data), so a step of any size costs no memory and
little time. Half precision is torch's own CUDA autocast on fake CUDA tensors, with its own rules for each operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal
from unittest import mock

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.overrides import TorchFunctionMode

from nnunet_spine_ext.errors import PlanError, SetupError

Precision = Literal["fp16", "fp32"]
"""How nnU-Net trains: "fp16" on CUDA (autocast over fp32 weights), "fp32" on the CPU."""

DEVICES: Mapping[Precision, str] = {"fp16": "cuda", "fp32": "cpu"}


def fake_mode() -> FakeTensorMode:
    """Return the mode in which tensors have no data."""
    # Constants that a module made before (class weights, coordinates) may meet fake tensors.
    return FakeTensorMode(allow_non_fake_inputs=True)


def build_fake(build: Callable[[], nn.Module], mode: FakeTensorMode, *, device: str) -> nn.Module:
    """Return the network that `build` makes, with fake weights on `device`, in training mode."""
    try:
        with mode, torch.device(device):
            return build().train()
    except DataDependentOutputException:
        # A constructor that reads tensor values (a list of drop rates, say) needs data: build it, then drop the data.
        return _without_data(build(), mode, device=device).train()


def _without_data(network: nn.Module, mode: FakeTensorMode, *, device: str) -> nn.Module:
    fakes: dict[int, torch.Tensor] = {}  # by identity, so that tied weights stay tied

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in fakes:
            with mode:
                empty = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
                is_weight = isinstance(tensor, nn.Parameter)
                fakes[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_weight else empty
        return fakes[id(tensor)]

    for module in network.modules():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None:
                    table[name] = fake(tensor)  # type: ignore[assignment]
    return network


def check_torch(precision: Precision) -> None:
    """Check that this torch can make what is counted.

    Raises:
        SetupError: a torch before 2.10 on a machine without a GPU. Its fake CUDA tensors ask the driver for the real
            device in places, which ends in errors that name neither cause nor remedy, or in an abort.
    """
    if precision == "fp16" and torch.__version__ < "2.10" and not torch.cuda.is_available():
        raise SetupError(
            f"torch {torch.__version__} cannot count a GPU's memory on a machine without a GPU; 2.10 and newer can. "
            "Plan on a machine with a GPU, or install a newer torch."
        )


@contextmanager
def cuda_autocast_available(precision: Precision) -> Iterator[None]:
    """Let `torch.autocast("cuda")` work without a GPU: ours, and any inside a network (activation checkpointing).

    Without this torch warns and computes in full precision; its rules themselves need no GPU.
    """
    if precision == "fp32":
        yield
        return
    with mock.patch.object(torch.cuda.amp.common, "amp_definitely_not_available", return_value=False):
        yield


def training_autocast(precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which nnU-Net runs forward pass and loss."""
    return torch.autocast("cuda", dtype=torch.float16) if precision == "fp16" else nullcontext()


class ConditionsHold(TorchFunctionMode):
    """Answers a Python `if tensor:` with yes, because there is no data to look at.

    In nnU-Net's losses such a question is "is any voxel annotated?", and yes is the case that needs memory.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the function returns)
        """Run one function, unless it asks for a truth value."""
        return True if func is torch.Tensor.__bool__ else func(*args, **(kwargs or {}))


class FusedAttention(TorchFunctionMode):
    """Runs scaled dot-product attention as a GPU does: by the kernel that never makes the N x N matrix.

    On fake tensors torch takes the explicit formula, which would count the matrix as kept for backward. A kernel does
    not have every form: a mask, or heads shared by several queries, stay with torch's own choice.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the function returns)
        """Run one function; attention on (fake) CUDA tensors by the fused kernel."""
        options = {name: value for name, value in (kwargs or {}).items() if value is not None}
        is_attention = func is torch.nn.functional.scaled_dot_product_attention and len(args) == 3
        if not is_attention or args[0].device.type != "cuda" or set(options) - {"dropout_p", "is_causal", "scale"}:
            return func(*args, **(kwargs or {}))
        if torch.is_autocast_enabled("cuda"):
            args = tuple(tensor.to(torch.get_autocast_dtype("cuda")) for tensor in args)
        dropout, causal = options.get("dropout_p", 0.0), options.get("is_causal", False)
        fused = torch.ops.aten._scaled_dot_product_efficient_attention
        return fused(*args, None, True, dropout, causal, scale=options.get("scale"))[0]


@contextmanager
def data_free_errors_explained(what: str) -> Iterator[None]:
    """Turn torch's error about reading values into one that says what cannot be counted."""
    try:
        yield
    except DataDependentOutputException as error:
        raise PlanError(
            f"{what} reads tensor values in Python ({error.func}), so its memory cannot be counted without data. "
            "Compute with tensors there (torch.where instead of .item())."
        ) from error
