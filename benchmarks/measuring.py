"""What the benchmarks share: the machine in a line, ways that take turns, a training step, tables, a profile.

Not a benchmark itself; the scripts beside it import it by this name, so they run from any folder.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile

from nnunet_spine_ext.planning.memory import Loss
from nnunet_spine_ext.planning.real_step import RealStep

MB = 2**20
GIGA = 1e9


def machine(device: str = "cpu") -> str:
    """Return in one line what ran the figures: processor or GPU, versions, how busy the machine was."""
    if device == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        what = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, cuDNN {cudnn}"
    else:
        what = f"CPU only ({_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads); no GPU"
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{what}{load}; torch {torch.__version__}, Python {platform.python_version()}."


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    known = [name for name in names if name.lower() != "unknown"]
    return known[0] if known else platform.machine()


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    ruler = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ruler, *rows))


def size(patch: Sequence[int]) -> str:
    """Return a patch in words."""
    return " × ".join(map(str, patch))


def precision_of(device: str) -> str:
    """Say how a step computes."""
    return "half precision on the GPU" if device == "cuda" else "full precision on the CPU"


def synchronize(device: str) -> None:
    """Wait until a GPU has done its work; nothing on a CPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def in_turns(
    ways: Mapping[str, Callable[[], object]], *, rounds: int, device: str = "cpu", warm_up: int = 1
) -> dict[str, list[float]]:
    """Return the seconds of every call; the ways take turns within each round, so that all see the same machine."""
    for _ in range(warm_up):
        for way in ways.values():
            way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(_seconds(way, device))
    return seconds


def _seconds(way: Callable[[], object], device: str) -> float:
    synchronize(device)
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        way()
        end.record()
        synchronize(device)
        return float(start.elapsed_time(end)) / 1000
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


def median_and_range(seconds: Sequence[float]) -> str:
    """Return "median (least to most)"."""
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"


class TrainingStep:
    """One whole step as nnU-Net trains: forward, loss, backward, clipping, SGD; in half precision on a GPU.

    Args:
        network: with deep supervision, if it has any.
        patch: voxels on each axis.
        batch: samples.
        classes: values of the random targets.
        loss: nnU-Net's form, loss(outputs, targets).
        device: on which all of it lives.
    """

    def __init__(
        self, network: nn.Module, *, patch: Sequence[int], batch: int, classes: int, loss: Loss, device: str
    ) -> None:
        self.real = RealStep(network, patch=patch, batch=batch, classes=classes, loss=loss, device=device)
        self.device = device
        weights = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(weights, 1e-3, weight_decay=3e-5, momentum=0.99, nesterov=True)
        self.scaler = torch.amp.GradScaler(device, enabled=device == "cuda")

    def __call__(self) -> None:
        """Train one step."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device, dtype=torch.float16, enabled=self.device == "cuda"):
            outputs, loss = self.real.forward()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        del outputs
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.real.network.parameters(), 12)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def peak_bytes(self) -> int:
        """Return the most that all tensors took in a step: max_memory_allocated on a GPU, torch's allocator else."""
        if self.device == "cpu":
            return self.real.cpu_peak_bytes()
        self()
        torch.cuda.reset_peak_memory_stats()
        self()
        return int(torch.cuda.max_memory_allocated())


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A line of a profile."""

    name: str
    share: float
    """Of the time in all operators, its own alone."""
    milliseconds: float
    calls: int


def profiled(way: Callable[[], object], *, device: str = "cpu", top: int = 5) -> list[Operator]:
    """Return the operators in which one call of `way` spends most of its time."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    way()
    with profile(activities=activities) as recorded:
        way()
        synchronize(device)
    events: EventList = recorded.key_averages()
    times = [(e.self_device_time_total if device == "cuda" else e.self_cpu_time_total, e) for e in events]
    total = sum(t for t, _ in times)
    best = sorted(times, key=lambda pair: -pair[0])[:top]
    return [Operator(name=e.key, share=t / total, milliseconds=t / 1000, calls=e.count) for t, e in best]


def profile_table(columns: Mapping[str, Sequence[Operator]]) -> str:
    """Return profiles side by side."""
    header = [part for name in columns for part in (name, "ms", "share", "calls")]
    count = max(len(operators) for operators in columns.values())
    rows = []
    for i in range(count):
        cells: list[str] = []
        for operators in columns.values():
            o = operators[i] if i < len(operators) else None
            cells += [f"`{o.name}`", f"{o.milliseconds:.1f}", f"{o.share:.0%}", str(o.calls)] if o else ["", "", "", ""]
        rows.append(cells)
    return table(header, rows)
