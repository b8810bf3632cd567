"""A real training step, with data, and what it really allocates: what counts are compared with.

Nothing here knows the counting code. On a CPU two things can be measured: the storages that autograd saved, and the
most that torch's allocator had handed out at once. Measure on one thread: with more, CPU convolutions allocate a
buffer for each, which no GPU has.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn


class RealStep:
    """One training step: network, a random image, and random targets for each output of the network.

    Args:
        network: with deep supervision, if it has any, as in training.
        patch: voxels on each axis.
        batch: samples.
        classes: values of the targets.
        loss: nnU-Net's form, loss(outputs, targets).
        device: on which all of it lives.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        patch: Sequence[int],
        batch: int,
        classes: int,
        loss: Callable[[Any, Any], torch.Tensor],
        device: str = "cpu",
    ) -> None:
        self.network, self.loss = network.to(device).train(), loss
        self.image = torch.randn(batch, 1, *patch, device=device)
        with torch.no_grad():
            shapes = [(o.shape[0], 1, *o.shape[2:]) for o in self.network(self.image)]
        self.targets = [torch.randint(0, classes, s, device=device).to(torch.int16) for s in shapes]

    @property
    def given(self) -> list[torch.Tensor]:
        """What is there before the step."""
        return [*self.network.parameters(), *self.network.buffers(), self.image, *self.targets]

    def forward(self) -> tuple[Any, torch.Tensor]:
        """Return outputs and loss; nnU-Net holds both until the backward pass is over."""
        outputs = self.network(self.image)
        return outputs, self.loss(outputs, self.targets)

    def saved_bytes(self) -> int:
        """Return the bytes of the storages that autograd holds after the forward pass, without what is given.

        Too few where torch hides from its hooks what a selective checkpoint keeps (2.10 does, 2.15 does not).
        """
        held: list[torch.Tensor] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            held.append(tensor.detach())
            return held[-1]

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            self.forward()
        given = {tensor.data_ptr() for tensor in self.given}
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}
        return sum(count for start, count in storages.items() if start not in given)

    def cpu_peak_bytes(self) -> int:
        """Return the most that torch's CPU allocator had handed out at once, with what is given."""
        gc.collect()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            outputs, loss = self.forward()
            loss.backward()  # type: ignore[no-untyped-call]
        del outputs
        events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
        now = peak = sum(t.numel() * t.element_size() for t in self.given)
        for event in sorted(events, key=lambda e: e.start_ns()):
            now += event.nbytes()
            peak = max(peak, now)
        return peak
