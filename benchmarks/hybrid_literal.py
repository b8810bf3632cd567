"""SpineHybrid beside the literal reading of paper 000, and beside stock nnU-Net's network of the same plan.

    python benchmarks/hybrid_literal.py [--rounds 5] [--threads 1]  >  benchmarks/hybrid_literal.md
    python benchmarks/hybrid_literal.py --device cuda     # the published width and the plan themselves, timed on a GPU

(1) The literal reading (`paper000_reference.py`: nine maps concatenated, LayerNorm with a weight for every voxel, dense
7x7) against SpineHybrid at equal widths and patch, one output, mean square as loss, with the steps that lie between
them. (2) A training step of both, timed in turns. (3) SpineHybrid against nnU-Net's PlainConvUNet, the same plan, 20
classes, deep supervision, nnU-Net's loss. Memory is counted as `nnunet_spine plan` counts and, where the CPU
can afford the step, compared with what a real step saves. Profiles say where the time goes.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from hybrid_forms import compared_forms
from hybrid_networks import Build, Task, beside_stock, regression, segmentation, step_of, steps_between
from kept_by_part import kept_by_part
from measuring import (
    GIGA,
    MB,
    in_turns,
    machine,
    median_and_range,
    precision_of,
    profile_table,
    profiled,
    size,
    table,
)
from time_by_part import time_by_part

from nnunet_spine_ext.planning.flops import flops_of
from nnunet_spine_ext.planning.memory import TrainingMemory, count_training_memory
from nnunet_spine_ext.planning.simulation import Precision

WIDTH, PATCH = 64, (12, 128, 128)
"""The published network and its window."""


def count(build: Build, task: Task, *, precision: Precision) -> TrainingMemory:
    """Count a step, with the state of SGD with momentum."""
    return count_training_memory(
        build,
        patch_size=task.patch,
        batch_size=task.batch,
        input_channels=1,
        loss=task.loss,
        precision=precision,
    )


def parameters(build: Build) -> int:
    """Return the number of weights, without making them."""
    with torch.device("meta"):
        return sum(p.numel() for p in build().parameters())


# ---- memory ------------------------------------------------------------------------------------------------------


def memory_table(builds: Mapping[str, Build], task: Task, *, precision: Precision) -> tuple[str, float]:
    """Return the table, the first line the reference, and how many times less the last keeps."""
    counted = {name: count(build, task, precision=precision) for name, build in builds.items()}
    first = next(iter(counted.values()))
    flops = {name: flops_of(partial(count, build, task, precision=precision)) for name, build in builds.items()}
    rows = [
        [
            name, f"{parameters(builds[name]) / 1e6:,.1f}", f"{m.activations / MB:,.1f}",
            f"{first.activations / m.activations:.2f}", f"{m.peak / MB:,.0f}", f"{first.peak / m.peak:.2f}",
            f"{flops[name] / GIGA:,.0f}",
        ]
        for name, m in counted.items()
    ]  # fmt: skip
    header = [
        "network",
        "weights, M",
        "kept for backward, MB",
        "times less",
        "peak of a step, MB",
        "times less",
        "GFLOP",
    ]
    last = list(counted.values())[-1]
    return table(header, rows), first.activations / last.activations


def checked_table(builds: Mapping[str, Build], task: Task) -> str:
    """Return counted and really saved bytes on the CPU in full precision."""
    rows = []
    for name, build in builds.items():
        counted = count(build, task, precision="fp32").activations
        saved = step_of(build, task, device="cpu").real.saved_bytes()
        rows.append([name, f"{counted / MB:.2f}", f"{saved / MB:.2f}", f"{100 * (counted - saved) / saved:+.2f} %"])
    return table(["network", "counted, MB", "saved by a real CPU step, MB", "difference"], rows)


def parts_table(builds: Mapping[str, Build], task: Task, *, top: int = 6) -> str:
    """Return which parts of each network keep the most, counted."""
    columns = []
    for build in builds.values():
        parts = kept_by_part(build, patch=task.patch, batch=task.batch)
        total = sum(parts.values())
        best = sorted(parts.items(), key=lambda item: -item[1])[:top]
        columns.append([[f"`{part}`", f"{count / total:.0%}"] for part, count in best])
    rows = [[cell for column in columns for cell in column[i]] for i in range(top)]
    return table([cell for name in builds for cell in (name, "share")], rows)


# ---- time --------------------------------------------------------------------------------------------------------


def timed(builds: Mapping[str, Build], task: Task, *, rounds: int, device: str) -> tuple[str, str, dict[str, float]]:
    """Return the table of seconds, the profiles, and the median of each."""
    steps = {name: step_of(build, task, device=device) for name, build in builds.items()}
    seconds = in_turns(steps, rounds=rounds, device=device)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    first = next(iter(medians.values()))
    gpu = device == "cuda"
    rows = [
        [name, median_and_range(seconds[name]), f"{first / medians[name]:.2f}"]
        + ([f"{steps[name].peak_bytes() / MB:,.0f}"] if gpu else [])
        for name in steps
    ]
    header = ["network", "seconds a step: median (range)", "times faster"]
    profiles = {name: profiled(step, device=device, top=8) for name, step in steps.items()}
    return table(header + (["max allocated, MB"] if gpu else []), rows), profile_table(profiles), medians


# ---- the page ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large everything is."""

    batch: int = 1
    """Of the published network, which takes 14 GB at that."""
    stock_patch: tuple[int, ...] = (6, 128, 128)
    stock_batch: int = 2
    """nnU-Net's least. (For a single sample torch's CPU convolutions take other, slower kernels.)"""
    rounds: int = 5

    @staticmethod
    def for_device(device: str, *, rounds: int) -> Sizes:
        """Return the published sizes on a GPU, small ones on a CPU."""
        if device == "cpu":
            return Sizes(rounds=rounds)
        return Sizes(batch=2, stock_patch=(6, 512, 512), rounds=rounds)


def literal_section(sizes: Sizes, *, device: str) -> list[str]:
    """Return the comparison with the literal reading."""
    between = steps_between(WIDTH, PATCH)
    memory, ratio = memory_table(between, regression(PATCH, 2), precision="fp16")
    task = regression(PATCH, sizes.batch)
    ends = {name: between[name] for name in (next(iter(between)), list(between)[-1])}
    seconds, profiles, medians = timed(ends, task, rounds=sizes.rounds, device=device)
    literal, ours = medians.values()
    faster = literal / ours
    return [
        "## Against the literal reading of paper 000",
        "",
        "Width 64, patch 12 × 128 × 128, batch 2, half precision: the published network. Counted, not run.",
        "",
        memory,
        "",
        f"**Kept for backward: {ratio:.1f} times less** (target 3: {verdict(ratio, 3)}).",
        "",
        f"A training step of the same, batch {sizes.batch}, {precision_of(device)}, {sizes.rounds} rounds in turns:",
        "",
        seconds,
        "",
        f"**A step: {faster:.1f} times faster** (target 3: {verdict(faster, 3)}). What both share stays: dense "
        "convolutions of the residual and up-sampling blocks, most of what the profile shows for the hybrid.",
        "",
        "What the count says of this step, beside what a real step on the CPU saves (full precision):",
        "",
        checked_table(ends, task),
        "",
        "Where one step spends its time (own time of operators, torch.profiler):",
        "",
        profiles,
        "",
    ]


def stock_section(sizes: Sizes, *, device: str) -> list[str]:
    """Return the comparison with stock nnU-Net."""
    patch = (6, 512, 512)
    planned = beside_stock(patch)
    memory, ratio = memory_table(planned, segmentation(patch, 2), precision="fp16")
    builds, task = beside_stock(sizes.stock_patch), segmentation(sizes.stock_patch, sizes.stock_batch)
    seconds, profiles, medians = timed(builds, task, rounds=sizes.rounds, device=device)
    plain, _, ours = medians.values()
    return [
        "## Against stock nnU-Net on its own plan",
        "",
        f"Patch {size(patch)} (nnU-Net's default for 12 × 880 × 880), batch 2, half precision, counted, not run:",
        "",
        memory,
        "",
        "Which parts keep it (counted in full precision, the loss left out):",
        "",
        parts_table({name: planned[name] for name in ("PlainConvUNet", "SpineHybrid")}, segmentation(patch, 2)),
        "",
        f"One training step on nnU-Net's plan for patch {size(sizes.stock_patch)}, batch {sizes.stock_batch}, "
        f"{precision_of(device)}, {sizes.rounds} rounds in turns:",
        "",
        seconds,
        "",
        f"**SpineHybrid keeps {1 / ratio:.2f} times as much as PlainConvUNet (target: not more; {verdict(ratio, 1)}); "
        f"its step takes {ours / plain:.2f} times as long (target: not longer; {verdict(plain, ours)}).**",
        "",
        "Memory: of its blocks the hybrid keeps inputs and results of convolutions; norms, nonlinearities, sums, "
        "concatenations, the link's nine maps and the UX block's MLP are computed again in backward. Time: that, and "
        "above all the links, whose nine maps and nine 1x1 convolutions are read and written once more.",
        "",
        *parts_section(builds["SpineHybrid"], sizes, device=device),
        "Where one step spends its time (own time of operators):",
        "",
        profiles,
        "",
    ]


def hybrid_parts(build: Build) -> dict[str, list[str]]:
    """Return the modules of each kind of part of a SpineHybrid."""
    with torch.device("meta"):
        names = [name for name, _ in build().named_modules()]
    patterns = {
        "stem": r"encoder\.stem",
        "plane blocks (UX)": r"encoder\.planes\.\d+",
        "down-sampling": r"encoder\.downs\.\d+",
        "links (HANC)": r"links\.\d+",
        "up-sampling": r"decoder\.ups\.\d+",
        "output block": r"decoder\.output\.main",
        "heads": r"decoder\.seg_layers\.\d+",
    }
    return {part: [name for name in names if re.fullmatch(pattern, name)] for part, pattern in patterns.items()}


def parts_section(build: Build, sizes: Sizes, *, device: str) -> list[str]:
    """Return where SpineHybrid's time goes, part by part; on a CPU, where the host waits for every operation."""
    if device != "cpu":
        return []
    image = torch.randn(sizes.stock_batch, 1, *sizes.stock_patch)
    seconds = time_by_part(build, hybrid_parts(build), image)
    total = sum(seconds.values())
    rows = [[part, f"{1000 * s:.0f}", f"{s / total:.0%}"] for part, s in seconds.items()]
    return [
        "SpineHybrid's step by part (each alone, forward and backward):",
        "",
        table(["part", "ms", "share"], rows),
        "",
    ]


def forms_section(sizes: Sizes, *, device: str) -> list[str]:
    """Return SpineHybrid before and after all that was done for it, and what was tried."""
    return compared_forms(patch=sizes.stock_patch, batch=sizes.stock_batch, rounds=sizes.rounds, device=device)


def verdict(found: float, wanted: float) -> str:
    """Say whether a target is reached."""
    return "reached" if found >= wanted else "missed"


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one round")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.backends.cudnn.benchmark = True  # as nnU-Net trains
    sizes = Sizes.for_device(given.device, rounds=1 if given.quick else given.rounds)
    print("# SpineHybrid, the literal reading of paper 000, and stock nnU-Net")
    print("\n    python benchmarks/hybrid_literal.py\n")
    for section in (literal_section, stock_section, forms_section):
        print("\n".join(section(sizes, device=given.device)), flush=True)
    print(machine(given.device))


if __name__ == "__main__":
    main()
