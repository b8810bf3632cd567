"""Autograd's backward pass, node by node, in the order and with the lifetimes of torch's own engine.

Why not torch's engine: it asks the CUDA driver for streams as soon as a tensor says that it is on a GPU, so it cannot
run on fake CUDA tensors where there is no GPU, and plans are often made on such machines. A test compares the peak
with torch's engine, on a device where both can run.

What is kept of the engine's behaviour, because memory depends on it: nodes run latest first, leaves before all others;
a gradient is released when its node has run, and so are the node's saved tensors (`SavedTensors`); a second gradient
for the same input is added in place where nothing else uses the first.
"""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import torch
from torch.autograd.graph import Node, saved_tensors_hooks

from nnunet_spine_ext.planning.live import storage_key

Gradients = list[torch.Tensor | None]


class SavedTensors(saved_tensors_hooks):
    """Holds what autograd saves inside `with SavedTensors() as saved:`, and lets go of it as the engine does."""

    def __init__(self) -> None:
        super().__init__(self._pack, self._unpack)
        self._boxes: list[weakref.ref[_Box]] = []
        self._opened: list[_Box] = []

    def __enter__(self) -> SavedTensors:  # type: ignore[override]  # torch returns nothing here
        super().__enter__()
        return self

    def tensors(self) -> list[torch.Tensor]:
        """Return what is saved now."""
        boxes = (ref() for ref in self._boxes)
        return [box.tensor for box in boxes if box is not None and box.tensor is not None]

    def release_used(self) -> None:
        """Let go of the tensors that were asked for since the last call: their node has run."""
        for box in self._opened:
            box.tensor = None
        self._opened.clear()

    def _pack(self, tensor: torch.Tensor) -> _Box:
        box = _Box(tensor.detach())  # with its graph it would hold the node that holds it
        self._boxes.append(weakref.ref(box))
        return box

    def _unpack(self, box: _Box) -> torch.Tensor:
        assert box.tensor is not None
        self._opened.append(box)
        return box.tensor


class _Box:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor: torch.Tensor | None = tensor


class Backward:
    """One backward pass; `gradients` holds each leaf with what it received, in the order of arrival."""

    def __init__(self, loss: torch.Tensor, *, saved: SavedTensors) -> None:
        """Prepare for the graph of the scalar `loss`, whose tensors `saved` holds."""
        root = loss.grad_fn
        assert root is not None
        self.gradients: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._saved = saved
        self._waiting_for = _count_consumers(root)
        self._buffers: dict[Node, Gradients] = {}
        self._sharers: Counter[int] = Counter()
        self._ready: list[tuple[int, int, Node]] = []
        self._pushed = 0
        self._put(root, 0, torch.ones_like(loss, requires_grad=False))
        self._push(root)

    def run(self) -> None:
        """Run every node, without building a graph of the backward pass itself."""
        switch = torch.zeros((), requires_grad=True)
        _InsideEngine.apply(switch, self._run_all).backward()

    def _run_all(self) -> None:
        while self._ready:
            self._step()

    def _push(self, node: Node) -> None:
        self._pushed += 1
        heappush(self._ready, (-node._sequence_nr(), self._pushed, node))

    def _step(self) -> None:
        _, _, node = heappop(self._ready)
        received = self._buffers.pop(node)
        self._sharers.subtract(storage_key(g) for g in received if g is not None)
        if hasattr(node, "variable"):
            self.gradients.extend((node.variable, g) for g in received if g is not None)
            return
        produced = _call(node, received)
        consumers = node.next_functions
        # Nothing may outlive its use here: a forgotten reference would be counted as memory.
        del node, received
        self._saved.release_used()
        for i, (consumer, position) in enumerate(consumers):
            gradient, produced[i] = produced[i], None
            if consumer is not None:
                self._deliver(consumer, position, gradient)
            del gradient

    def _deliver(self, consumer: Node, position: int, gradient: torch.Tensor | None) -> None:
        if gradient is not None:
            self._put(consumer, position, _fitted(gradient, consumer._input_metadata[position]))
        self._waiting_for[consumer] -= 1
        if self._waiting_for[consumer] == 0:
            del self._waiting_for[consumer]
            if consumer in self._buffers:
                self._push(consumer)

    def _put(self, node: Node, position: int, gradient: torch.Tensor) -> None:
        buffer = self._buffers.setdefault(node, [None] * len(node._input_metadata))
        first = buffer[position]
        if first is not None and self._sharers[storage_key(first)] == 1 and _dense(first):
            first.add_(gradient)
            return
        if first is not None:
            self._sharers[storage_key(first)] -= 1
            gradient = first + gradient
        self._sharers[storage_key(gradient)] += 1
        buffer[position] = gradient


class _InsideEngine(torch.autograd.Function):
    """Runs a function while torch's engine is at work, on the CPU, with nothing else to do.

    Activation checkpointing asks torch which backward pass is running, to compute each of its parts only once.
    """

    @staticmethod
    def forward(ctx: Any, switch: torch.Tensor, run: Callable[[], None]) -> torch.Tensor:  # noqa: ANN401
        ctx.run = run
        return switch.clone()

    @staticmethod
    def backward(ctx: Any, _: torch.Tensor) -> tuple[None, None]:  # noqa: ANN401
        ctx.run()
        return None, None


def _count_consumers(root: Node) -> dict[Node, int]:
    """Return for each node how many gradients it waits for."""
    waiting: dict[Node, int] = defaultdict(int)
    found, stack = {root}, [root]
    while stack:
        for following, _ in stack.pop().next_functions:
            if following is None:
                continue
            waiting[following] += 1
            if following not in found:
                found.add(following)
                stack.append(following)
    return waiting


def _call(node: Node, received: Gradients) -> Gradients:
    # Functions written in Python have `apply`, and expect zeros where there is no gradient.
    python_function = getattr(node, "apply", None)
    if python_function is None:
        result = node(*received)  # type: ignore[operator]  # the nodes of torch's own operations are callable
    else:
        metadata = node._input_metadata
        result = python_function(*(_zeros(m) if g is None else g for g, m in zip(received, metadata, strict=True)))
    produced = list(result) if isinstance(result, tuple) else [result]
    if _is_view_of_changed_map(node) and produced[0] is not None:
        # An activation in place, on a view (of a norm's output): with real tensors torch goes back from the view to
        # the whole through new memory (AsStridedBackward); fake tensors remember the view itself and need none.
        produced[0] = produced[0].clone()
    return produced


def _is_view_of_changed_map(node: Node) -> bool:
    following = node.next_functions
    after = following[0][0] if len(following) == 1 else None
    view = node.name() in ("ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0")
    return view and after is not None and after.name().endswith("CopySlices")


def _dense(tensor: torch.Tensor) -> bool:
    """Return whether every element has its own place and none is left empty, in whatever order of axes."""
    extent = 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return extent == tensor.numel()


def _zeros(metadata: Any) -> torch.Tensor:  # noqa: ANN401  (torch gives this class no name)
    return torch.zeros(tuple(metadata.shape), dtype=metadata.dtype, device=metadata.device)


def _fitted(gradient: torch.Tensor, expected: Any) -> torch.Tensor:  # noqa: ANN401
    """Return the gradient in the shape and dtype of what it is the gradient of, as the engine does."""
    if gradient.shape != torch.Size(expected.shape):
        gradient = gradient.sum_to_size(expected.shape)
    return gradient if gradient.dtype == expected.dtype else gradient.to(expected.dtype)
