"""What networks cost on one input, as text, Markdown or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from nnunet_spine_ext.networks.default_plan import default_architecture, padded_patch
from nnunet_spine_ext.networks.entries import NetworkEntry
from nnunet_spine_ext.networks.facts import MemoryCount, NetworkFacts, network_facts
from nnunet_spine_ext.networks.listing import aligned, dims_text, markdown_table, record
from nnunet_spine_ext.networks.plans_file import PlannedInput, read_planned_input
from nnunet_spine_ext.networks.published import why_it_differs
from nnunet_spine_ext.networks.registry import NETWORKS, entry

DEFAULT_CHANNELS = 1
DEFAULT_CLASSES = 20
"""MRSpineSeg: T2 images, background and 19 structures."""

COUNTED_BATCH = 2
"""Samples of the training step whose memory is counted: nnU-Net's smallest batch."""

HEADER = ("network", "dims", "parameters (M)", "GMAC", "training memory (GB)")


def planned_input(
    patch_size: Sequence[int] | None, *, dataset: Path | None, plans: str, configuration: str
) -> PlannedInput:
    """Return the plan to show networks for: of a dataset, or nnU-Net's default for a patch.

    A leading 1 in `patch_size` is a 2D patch.

    Raises:
        PlanError, SetupError: no such plan, or no plan for such a patch.
    """
    if dataset is not None:
        return read_planned_input(dataset, plans=plans, configuration=configuration)
    patch = tuple(patch_size or ())
    patch = patch[1:] if len(patch) == 3 and patch[0] == 1 else patch
    architecture = default_architecture(patch)
    return PlannedInput(
        architecture=architecture,
        patch_size=padded_patch(patch, architecture["strides"]),
        input_channels=DEFAULT_CHANNELS,
        num_classes=DEFAULT_CLASSES,
    )


def shown_rows(planned: PlannedInput, *, name: str | None = None) -> list[NetworkEntry]:
    """Return one row, or all that take the plan's dimensions (2D ones take 3D slice by slice).

    Raises:
        PlanError: no such network.
    """
    return [entry(name)] if name else [r for r in NETWORKS.values() if len(planned.patch_size) >= min(r.dims)]


def registry_facts(
    rows: Iterable[NetworkEntry], planned: PlannedInput, *, memory: MemoryCount | None = None
) -> list[NetworkFacts]:
    """Return the facts of networks on a plan, with a bar while several are counted.

    Raises:
        PlanError: the plan does not fit a network.
    """
    counted = list(rows)
    bar = tqdm(counted, desc="Counting", unit=" networks", disable=len(counted) < 2)
    return [network_facts(row, planned, memory=memory) for row in bar]


def as_json(facts: Sequence[NetworkFacts]) -> str:
    """Return all facts as a JSON list."""
    return json.dumps([_record(one) for one in facts], indent=2)


def as_markdown(facts: Sequence[NetworkFacts]) -> str:
    """Return a Markdown table and a line that states the input."""
    return f"{markdown_table(HEADER, [_cells(one) for one in facts])}\n\n{input_line(facts[0])}"


def as_text(facts: Sequence[NetworkFacts]) -> str:
    """Return an aligned table and a line that states the input; for one network, its sources too."""
    lines = aligned([HEADER, *(_cells(one) for one in facts)])
    if len(facts) == 1:
        lines += ["", *_details(facts[0])]
    return "\n".join([*lines, "", input_line(facts[0])])


def input_line(one: NetworkFacts) -> str:
    """Return for what input the facts hold."""
    size = " x ".join(map(str, one.patch_size))
    line = f"For an input of {size}, {one.input_channels} channel(s), {one.num_classes} logits; GMAC at batch 1"
    if one.training_memory_gb is None:
        return f"{line}."
    return f"{line}, memory of a training step by the first trainer at batch {COUNTED_BATCH}, counted for float16."


def _cells(one: NetworkFacts) -> tuple[str, ...]:
    memory = "not counted" if one.training_memory_gb is None else f"{one.training_memory_gb:.1f}"
    return (one.entry.name, dims_text(one.entry), f"{one.parameters / 1e6:.1f}", f"{one.gmac:.1f}", memory)


def _details(one: NetworkFacts) -> list[str]:
    row = one.entry
    options = ", ".join(f"{name}={value!r}" for name, value in row.options.items()) or "defaults"
    lines = [
        row.summary,
        f"paper: {row.paper}",
        f"class: {row.network}",
        f"options: {options}",
        f"trainers: {', '.join(row.trainers)}",
        f"parameters: {one.parameters:,}",
    ]
    if one.frozen_parameters:
        lines.append(f"frozen: {one.frozen_parameters:,} of them never learn")
    for known in row.oracles:
        why = why_it_differs(row, known)
        size = f"{known.what}: {known.parameters:,} here, {known.published:,} in the source"
        lines.append(f"known size: {size}" + (f" ({why})" if why else ""))
    return lines


def _record(one: NetworkFacts) -> dict[str, object]:
    return {
        **record(one.entry),
        "patch_size": list(one.patch_size),
        "input_channels": one.input_channels,
        "num_classes": one.num_classes,
        "parameters": one.parameters,
        "frozen_parameters": one.frozen_parameters,
        "gmac": one.gmac,
        "training_memory_gb": one.training_memory_gb,
    }
