"""Bytes that live at once: the storages of all tensors from their first sight to their release.

Works on real tensors and on fake ones (tensors with shape, dtype and device but without data), whose storages know
their size as well. Tensors that share a storage count once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what every operation inside `with LiveBytes() as live:` allocates and what is released meanwhile.

    Attributes:
        now: bytes alive at this moment.
        peak: the largest `now` so far.
        half_copies: living half-precision copies of the weights (autocast makes and caches them): storage → bytes.
    """

    def __init__(self, *, weights: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self.half_copies: dict[int, int] = {}
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._weights = {storage_key(w) for w in weights}
        self.hold(weights)

    def hold(self, tensors: Iterable[torch.Tensor]) -> int:
        """Count tensors made before; return how many bytes were new."""
        before = self.now
        for tensor in tensors:
            self._see(tensor)
        return self.now - before

    def storages(self) -> dict[int, int]:
        """Return the storages that are alive, each with its bytes."""
        found = {key: reference() for key, reference in self._alive.items()}
        return {key: storage.nbytes() for key, storage in found.items() if storage is not None}

    def reserve(self, count: int) -> None:
        """Count bytes that no tensor stands for, until the end."""
        self.now += count
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the operation returns)
        """Run one operation and count its results."""
        if func is torch.ops.prim.device.default:  # fake tensors ask this at every turn
            return func(*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf)
        if func is torch.ops.aten._to_copy.default and storage_key(args[0]) in self._weights:
            self.half_copies[storage_key(result)] = result.untyped_storage().nbytes()
        return result

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, count = storage._cdata, storage.nbytes()
        if key in self._alive:
            return
        self._alive[key] = weakref.ref(storage, partial(self._release, key, count))
        self.reserve(count)

    def _release(self, key: int, count: int, _: weakref.ref[torch.UntypedStorage]) -> None:
        self.now -= count
        del self._alive[key]
        self.half_copies.pop(key, None)


def storage_key(tensor: torch.Tensor) -> int:
    """Return what tells a living storage from every other living storage."""
    return int(tensor.untyped_storage()._cdata)
