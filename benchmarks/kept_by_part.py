"""Which parts of a network hold what autograd keeps: bytes by module, counted on tensors without data.

Each storage counts once, for the part in which it was first kept. Full precision, without the loss.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as torch_checkpoint

from nnunet_spine_ext.networks.blocks import recompute
from nnunet_spine_ext.planning.live import storage_key
from nnunet_spine_ext.planning.simulation import build_fake, fake_mode

LEVELS = 3
"""Of a name: `decoder.ups.6`, `encoder.stages.0`."""


class _Ledger:
    def __init__(self, network: nn.Module) -> None:
        self.bytes: Counter[str] = Counter()
        self._inside: list[str] = []
        self._seen = {storage_key(w) for w in (*network.parameters(), *network.buffers())}
        self._held: list[Tensor] = []
        for name, module in network.named_modules():
            if name and name.count(".") < LEVELS:
                module.register_forward_pre_hook(lambda *_, name=name: self._inside.append(name))
                module.register_forward_hook(lambda *_: self._inside.pop() and None)

    def note(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is kept."""
        key = storage_key(tensor)
        if key not in self._seen:
            self._seen.add(key)
            self._held.append(tensor.detach())  # alive, so that its key is nobody else's
            self.bytes[self._inside[-1] if self._inside else "outside"] += tensor.untyped_storage().nbytes()
        return tensor.detach()


def kept_by_part(build: Callable[[], nn.Module], *, patch: Sequence[int], batch: int) -> dict[str, int]:
    """Return part → bytes that it keeps for the backward pass.

    Args:
        build: makes the network.
        patch: voxels on each axis.
        batch: samples.
    """
    mode = fake_mode()
    network = build_fake(build, mode, device="cpu")
    ledger = _Ledger(network)
    with (
        mode,
        _inputs_of_recomputation(ledger),
        torch.autograd.graph.saved_tensors_hooks(ledger.note, lambda tensor: tensor),
    ):
        network(torch.empty(batch, 1, *patch))
    return dict(_by_level(ledger.bytes))


def _by_level(found: Counter[str]) -> Counter[str]:
    total: Counter[str] = Counter()
    for name, count in found.items():
        total[".".join(name.split(".")[:LEVELS])] += count
    return total


@contextmanager
def _inputs_of_recomputation(ledger: _Ledger) -> Iterator[None]:
    """Count what is kept in order to compute again; torch does not save it as it saves other tensors."""

    def checkpoint(function: Callable[..., Tensor], *tensors: Tensor, **options: Any) -> Any:  # noqa: ANN401
        for tensor in tensors:
            ledger.note(tensor)
        return torch_checkpoint(function, *tensors, **options)

    with mock.patch.object(recompute, "checkpoint", checkpoint):
        yield
