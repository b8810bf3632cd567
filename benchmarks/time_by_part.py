"""Which parts of a network take the time of a training step: each run alone, forward and backward, on its real inputs.

The sum is not a whole step (loss, optimizer and what lies between the parts are left out); shares are what counts.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

ROUNDS = 3


def time_by_part(build: Callable[[], nn.Module], parts: Mapping[str, Sequence[str]], image: Tensor) -> dict[str, float]:
    """Return part → seconds, the median of three runs of each of its modules, added up.

    Args:
        build: makes the network.
        parts: part → names of its modules, which must not contain each other.
        image: what the network is given.
    """
    torch.manual_seed(0)
    network = build().train()
    inputs = _inputs(network, [name for names in parts.values() for name in names], image)
    seconds: dict[str, float] = defaultdict(float)
    for part, names in parts.items():
        for name in names:
            seconds[part] += _seconds(network.get_submodule(name), inputs[name])
    return dict(seconds)


def _inputs(network: nn.Module, names: Sequence[str], image: Tensor) -> dict[str, list[Tensor]]:
    """Return what every module is given when the network runs."""
    found: dict[str, list[Tensor]] = {}

    def catch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, given: found.update({name: [tensor.detach().requires_grad_() for tensor in given]})

    handles = [network.get_submodule(name).register_forward_pre_hook(catch(name)) for name in names]
    with torch.no_grad():
        network(image)
    for handle in handles:
        handle.remove()
    return found


def _seconds(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    times = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        module(*inputs).sum().backward()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])
