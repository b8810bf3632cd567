"""SpineHybrid in other forms of the same function, beside the hybrid as it is: its usual form, and what was tried.

All forms have the same weights and results (tests/benchmarks/test_naive_forms.py, tests/networks/test_hybrid.py).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from hybrid_networks import planned_hybrid, segmentation, step_of
from measuring import (
    MB,
    TrainingStep,
    in_turns,
    median_and_range,
    precision_of,
    profile_table,
    profiled,
    size,
    table,
)
from naive_forms import naive_forms

from nnunet_spine_ext.networks.blocks import recompute
from nnunet_spine_ext.networks.hybrid import HybridOptions

AS_IT_IS, USUAL, NOTHING_AGAIN = "as it is", "usual form", "nothing computed again"
MORE_AGAIN, CHANNELS_LAST = "transposed convolutions again, too", "channels_last_3d"
WORDS = (
    "*Usual form* (`naive_forms.py`): before everything that was done for this network. Nine maps side by side in the "
    "link, the UX block's MLP as grouped convolutions, 1x1 convolutions behind the up-sampling, all maps kept.",
    "*Nothing computed again* (`HybridOptions(recompute=False)`): the difference in time is the memory's price. "
    "The default stays with the memory, because memory bounds the patch of a plan.",
    "*Transposed convolutions again, too*: each output reads one voxel of twice the channels, nearly half of a "
    "3x3 convolution's work. Not adopted: memory is below stock nnU-Net's without it, and time is not.",
    "*channels_last_3d* for weights and image: InstanceNorm3d makes its input contiguous again, so the layout is "
    "undone at every norm. Not adopted for the whole network without a GPU's figure. Blocks that read all channels "
    "of a voxel together (LayerNorm and MLP of the UX block, poolings of the link) put them last by themselves.",
)


@contextmanager
def transposed_again() -> Iterator[None]:
    """Let backward compute transposed convolutions again."""
    usual = recompute._kept_or_again

    def policy(context: object, operation: object, *inputs: Any, **named: Any) -> Any:  # noqa: ANN401
        if operation is torch.ops.aten.convolution.default and inputs[6]:
            return recompute.checkpointing.CheckpointPolicy.PREFER_RECOMPUTE
        return usual(context, operation, *inputs, **named)

    with mock.patch.object(recompute, "_kept_or_again", policy):
        yield


SPECIAL: Mapping[str, Callable[[], AbstractContextManager[None]]] = {USUAL: naive_forms, MORE_AGAIN: transposed_again}
"""Forms that are the same network in another context."""


def compared_forms(*, patch: tuple[int, ...], batch: int, rounds: int, device: str) -> list[str]:
    """Return the table of all forms, the profiles of the first two, and what is to be said of each."""
    steps = _steps(patch, batch, device=device)
    seconds = in_turns({name: _within(name, step) for name, step in steps.items()}, rounds=rounds, device=device)
    first = statistics.median(seconds[AS_IT_IS])
    rows = []
    for name, step in steps.items():
        times = statistics.median(seconds[name]) / first
        peak = _within(name, step.peak_bytes)()
        rows.append([name, median_and_range(seconds[name]), f"{times:.2f}", f"{peak / MB:,.0f}"])
    profiles = {name: profiled(_within(name, steps[name]), device=device, top=8) for name in (USUAL, AS_IT_IS)}
    return [
        "## Before and after, and what was tried",
        "",
        f"SpineHybrid on the plan for patch {size(patch)}, batch {batch}, once more, {precision_of(device)}:",
        "",
        table(["form", "seconds a step: median (range)", "of the time as it is", "peak of a step, MB"], rows),
        "",
        profile_table(profiles),
        "",
        *(line for words in WORDS for line in (words, "")),
    ]


def _steps(patch: tuple[int, ...], batch: int, *, device: str) -> dict[str, TrainingStep]:
    task, usual = segmentation(patch, batch), planned_hybrid(patch)
    kept = planned_hybrid(patch, options=HybridOptions(recompute=False))
    builds = {AS_IT_IS: usual, USUAL: usual, NOTHING_AGAIN: kept, MORE_AGAIN: usual, CHANNELS_LAST: usual}
    steps = {name: step_of(build, task, device=device) for name, build in builds.items()}
    real = steps[CHANNELS_LAST].real
    real.network.to(memory_format=torch.channels_last_3d)
    real.image = real.image.to(memory_format=torch.channels_last_3d)
    return steps


def _within(name: str, run: Callable[[], Any]) -> Callable[[], Any]:
    """Return `run` in the context of a form."""

    def inside() -> Any:  # noqa: ANN401
        with SPECIAL.get(name, nullcontext)():
            return run()

    return inside
