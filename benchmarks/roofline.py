"""A training step beside the least time that this machine could need for it, and where the step spends its time.

    python benchmarks/roofline.py [--rounds 3] [--threads 1]  >  benchmarks/roofline.md
    python benchmarks/roofline.py --device cuda               # nnU-Net's own patch, half precision

For each network: floating-point operations of a step (`flops_of` on tensors without data; forward and
backward, what is computed again counts again) over the higher of two measured rates, of large matrix products and of a
large 3x3 convolution (which may need fewer multiplications than its definition says), and the least bytes over the
measured bandwidth of a copy. The larger of both is the floor. The least bytes: every kept activation written once
and read once, weights read in both passes, gradients written and read, weights and momentum read and written by SGD.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from measuring import GIGA, TrainingStep, in_turns, machine, profile_table, profiled, size, table
from planned_networks import CLASSES, STOCK, planned_network
from torch import nn

from nnunet_spine_ext.planning.flops import flops_of
from nnunet_spine_ext.planning.memory import TrainingMemory, count_training_memory

NAMES = (STOCK, "hybrid", "unetpp", "aspp-unet", "deeplabv3plus")
TIMES_WEIGHTS = 2 + 2 + 5
"""Read in both passes; gradients written and read; SGD: weight and momentum read and written, gradient read again."""


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What the machine can do."""

    product_flops_per_second: float
    convolution_flops_per_second: float
    bytes_per_second: float

    @property
    def flops_per_second(self) -> float:
        """The highest rate of arithmetic that was seen."""
        return max(self.product_flops_per_second, self.convolution_flops_per_second)

    @staticmethod
    def measured(device: str) -> Floor:
        """Measure matrix products, a convolution and copies; medians of five."""
        gpu = device == "cuda"
        edge, dtype = (8192, torch.float16) if gpu else (1024, torch.float32)
        a, b = (torch.randn(edge, edge, device=device, dtype=dtype) for _ in range(2))
        batch, channels, rows = (16, 512, 128) if gpu else (2, 256, 64)
        image = torch.randn(batch, channels, rows, rows, device=device, dtype=dtype)
        kernel = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
        source = torch.zeros((4096 if gpu else 256) * 2**18, device=device)
        target = torch.empty_like(source)
        ways: dict[str, Callable[[], object]] = {
            "product": lambda: a @ b,
            "convolution": lambda: F.conv2d(image, kernel, padding=1),
            "copy": lambda: target.copy_(source),
        }
        seconds = in_turns(ways, rounds=5, device=device)
        return Floor(
            product_flops_per_second=2 * edge**3 / statistics.median(seconds["product"]),
            convolution_flops_per_second=2 * image.numel() * channels * 9 / statistics.median(seconds["convolution"]),
            bytes_per_second=2 * source.numel() * 4 / statistics.median(seconds["copy"]),
        )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a step needs whatever the machine."""

    flops: int
    least_bytes: int
    parameters: int

    def floor_seconds(self, floor: Floor) -> tuple[float, float]:
        """Return the seconds of arithmetic and of moving bytes."""
        return self.flops / floor.flops_per_second, self.least_bytes / floor.bytes_per_second


def cost_of(make: Callable[[], nn.Module], *, patch: tuple[int, ...], batch: int, device: str) -> Cost:
    """Count a step."""

    def count() -> TrainingMemory:
        precision: Any = "fp16" if device == "cuda" else "fp32"
        return count_training_memory(make, patch_size=patch, batch_size=batch, input_channels=1, precision=precision)

    memory = count()  # apart from the operations: their counter holds on to tensors
    return Cost(
        flops=flops_of(count),
        least_bytes=2 * memory.activations + TIMES_WEIGHTS * memory.weights,
        parameters=memory.weights // 4,
    )


def summed(outputs: Any, _: object) -> torch.Tensor:  # noqa: ANN401  (as nnU-Net's losses)
    """Return the sum of all outputs: the loss costs the same whatever the network, and is left out."""
    each = outputs if isinstance(outputs, list) else [outputs]
    return torch.stack([output.float().mean() for output in each]).sum()


def report(names: Sequence[str], *, patch: tuple[int, ...], batch: int, rounds: int, device: str) -> str:
    """Return everything as Markdown."""
    floor = Floor.measured(device)
    steps, costs = {}, {}
    for name in names:
        costs[name] = cost_of(lambda name=name: planned_network(name, patch), patch=patch, batch=batch, device=device)  # type: ignore[misc]
        torch.manual_seed(0)
        steps[name] = TrainingStep(
            planned_network(name, patch), patch=patch, batch=batch, classes=CLASSES, loss=summed, device=device
        )
    seconds = {name: statistics.median(v) for name, v in in_turns(steps, rounds=rounds, device=device).items()}
    rows = []
    for name, cost in costs.items():
        arithmetic, moving = cost.floor_seconds(floor)
        least = max(arithmetic, moving)
        rows.append([
            name, f"{cost.parameters / 1e6:.1f}", f"{cost.flops / GIGA:,.1f}", f"{cost.least_bytes / GIGA:.2f}",
            f"{arithmetic:.3f}", f"{moving:.3f}", f"{seconds[name]:.3f}", f"{seconds[name] / least:.1f}",
        ])  # fmt: skip
    header = ["network", "weights, M", "GFLOP a step", "least GB", "arithmetic, s", "moving bytes, s",
              "measured, s", "times the floor"]  # fmt: skip
    profiles = "\n\n".join(profile_table({name: profiled(step, device=device, top=5)}) for name, step in steps.items())
    return "\n".join([
        "# A training step beside its floor",
        "",
        "    python benchmarks/roofline.py",
        "",
        f"Patch {size(patch)}, batch {batch}, {CLASSES} classes, forward, backward, clipping and SGD, no loss; medians "
        f"of {rounds} rounds in turns. The floor of this machine, measured here: "
        f"{floor.product_flops_per_second / GIGA:,.1f} GFLOP/s in matrix products, "
        f"{floor.convolution_flops_per_second / GIGA:,.1f} in a 3x3 convolution, "
        f"{floor.bytes_per_second / GIGA:,.1f} GB/s in copies (reads and writes).",
        "",
        table(header, rows),
        "",
        "Where a step spends its time (own time of operators, torch.profiler):",
        "",
        profiles,
        "",
        machine(device),
    ])  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--patch", nargs="+", type=int, help="default: 6 512 512 on a GPU, 6 64 64 on a CPU")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two networks, one round")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.backends.cudnn.benchmark = True  # as nnU-Net trains
    gpu = given.device == "cuda"
    patch = tuple(given.patch or ((6, 512, 512) if gpu else (6, 64, 64)))
    names, rounds = (NAMES[:2], 1) if given.quick else (given.only, given.rounds)
    print(report(names, patch=patch, batch=2, rounds=rounds, device=given.device))


if __name__ == "__main__":
    main()
