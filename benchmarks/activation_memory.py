"""What every network of the registry keeps for the backward pass, beside the same network as it is usually written.

    python benchmarks/activation_memory.py  >  benchmarks/activation_memory.md
    python benchmarks/activation_memory.py --device cuda     # also trains a step of both forms on a GPU
    python benchmarks/activation_memory.py --only hybrid unetpp --patch 6 256 256

One plan for all: what nnU-Net plans for the patch (the default is its patch for 12 x 880 x 880), 20 classes, batch 2,
half precision, all outputs that training has. Counted as `nnunet_spine plan` counts: forward and backward pass run on
tensors without data, and what autograd holds in between is added up; the outputs are summed up instead of a loss,
which would be the same in both. The usual form is that of `naive_forms.py`: same weights, same values, same gradients.
"""

from __future__ import annotations

import argparse
import functools
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType

import torch
from measuring import MB, TrainingStep, machine, size, table
from naive_forms import naive_forms
from planned_networks import CLASSES, planned_network
from torch import nn

from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.planning.memory import TrainingMemory, count_training_memory

BATCH = 2
QUICK = ("hybrid", "unetpp", "unet-003", "danet")

HANC, PARTS, UX, UP, AGAIN, POOL, MIX = (
    "the link's nine maps", "repeated concatenations", "fourfold maps of the UX block", "1x1 before repetition",
    "norms and activations again", "indices of pooling", "concatenated lines of ASPP",
)  # fmt: skip
BETWEEN = "all between convolutions again"
SAVED: Mapping[str, str] = MappingProxyType({
    "hybrid": f"{HANC}, {UX}, {BETWEEN}",
    "hybrid-no-hanc": f"{UX}, {BETWEEN}",
    "hybrid-no-ux": f"{HANC}, {BETWEEN}",
    "hybrid-res": f"{BETWEEN}, {UP}",
    "hybrid-paper": f"{HANC} (of the paper's dense form), {BETWEEN}",
    "unetpp": f"{PARTS}; nodes again",
    "acc-unet": "concatenations of neighbourhoods and levels; blocks again",
    "ux-net": f"{UX}, {BETWEEN}, LayerNorm by torch's operator",
    "resunetpp": BETWEEN,
    "unet-dense-001": f"{PARTS}, {AGAIN}",
    "ct-unet-spconv": f"{AGAIN}, {POOL}",
    "ct-unet-conv-module": f"maps between CIE's and MFE's convolutions, {POOL}",
    "aspp-unet": MIX,
    "denseaspp": f"{PARTS} (encoder and head), {AGAIN}",
    "danet": "the matrix of position attention",
    "transunet": "the matrices of attention",
})  # fmt: skip
"""Row → in words, what the difference is made of."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One network, counted (and, on a GPU, measured) in both forms; the library's first."""

    name: str
    counted: tuple[TrainingMemory, TrainingMemory]
    measured: tuple[int | None, int | None] | None
    """Most bytes allocated in a step; None inside: out of memory."""

    @property
    def ratio(self) -> float:
        """Return how many times as much the usual form keeps."""
        ours, usual = self.counted
        return usual.activations / ours.activations

    def cells(self) -> list[str]:
        """Return the line of the table."""
        ours, usual = self.counted
        what = SAVED.get(self.name) or (f"{POOL} and the like" if self.ratio > 1.005 else "nothing: no such form")
        memory = [f"{n / MB:,.0f}" for n in (ours.activations, usual.activations)]
        peaks = [f"{n / MB:,.0f}" for n in (ours.peak, usual.peak)]
        gpu = ["out of memory" if n is None else f"{n / MB:,.0f}" for n in self.measured or ()]
        return [f"`{self.name}`", *memory, f"{self.ratio:.2f}", *peaks, *gpu, what]


def lines(names: Sequence[str], *, patch: tuple[int, ...], device: str) -> list[Line]:
    """Return the lines of the table, the largest saving first."""
    found = [_line(name, patch=patch, device=device) for name in names]
    return sorted(found, key=lambda line: -line.ratio)


def _line(name: str, *, patch: tuple[int, ...], device: str) -> Line:
    make = functools.partial(planned_network, name, patch)
    forms: tuple[Callable[[], AbstractContextManager[None]], ...] = (nullcontext, naive_forms)
    counted, measured = [], []
    for form in forms:
        with form():
            counted.append(
                count_training_memory(make, patch_size=patch, batch_size=BATCH, input_channels=1, precision="fp16")
            )
            if device == "cuda":
                measured.append(_peak(make, patch))
    return Line(
        name=name,
        counted=(counted[0], counted[1]),
        measured=(measured[0], measured[1]) if measured else None,
    )


def _peak(make: Callable[[], nn.Module], patch: tuple[int, ...]) -> int | None:
    def total(outputs: torch.Tensor | list[torch.Tensor], _: object) -> torch.Tensor:
        each = outputs if isinstance(outputs, list) else [outputs]
        return torch.stack([output.float().sum() for output in each]).sum()

    try:
        step = TrainingStep(make(), patch=patch, batch=BATCH, classes=CLASSES, loss=total, device="cuda")
        return step.peak_bytes()
    except torch.cuda.OutOfMemoryError:
        return None
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def rows_for(patch: tuple[int, ...]) -> list[str]:
    """Return the networks that take the patch."""
    return [row.name for row in NETWORKS.values() if len(patch) >= min(row.dims)]


def report(names: Sequence[str], *, patch: tuple[int, ...], device: str) -> str:
    """Return everything as Markdown."""
    began = time.process_time()
    found = lines(names, patch=patch, device=device)
    header = ["network", "kept here, MB", "usual form, MB", "ratio", "peak here, MB", "peak, usual form, MB"]
    header += ["GPU peak here, MB", "GPU peak, usual form, MB"] if device == "cuda" else []
    better = sum(line.ratio > 1.005 for line in found)
    return "\n".join([
        "# What is kept for the backward pass, beside the usual form of the same network",
        "",
        "    python benchmarks/activation_memory.py",
        "",
        f"Patch {size(patch)}, batch {BATCH}, {CLASSES} classes, half precision. "
        + ("Peaks on the GPU are max_memory_allocated. " if device == "cuda" else "Counted; no GPU was used. ")
        + "Equality of both forms in values and gradients (float64): tests/benchmarks/test_naive_forms.py.",
        "",
        table([*header, "what is not kept"], [line.cells() for line in found]),
        "",
        f"{better} of {len(found)} networks keep less than their usual form. The peak is of all tensors of a step, "
        "weights, gradients and momentum included; where parts are computed again it falls by less than what is kept. "
        f"Counted in {time.process_time() - began:.0f} s of processor time.",
        "",
        machine(device),
    ])  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, metavar="NETWORK")
    parser.add_argument("--patch", nargs="+", type=int, default=(6, 512, 512))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="four networks")
    given = parser.parse_args()
    patch = tuple(given.patch)
    names = given.only or (QUICK if given.quick else rows_for(patch))
    print(report(names, patch=patch, device=given.device))


if __name__ == "__main__":
    main()
