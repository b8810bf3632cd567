"""The registry as a table: text, Markdown or JSON, from facts computed for one input size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nnunet_spine_ext.networks.default_plan import default_architecture, padded_patch
from nnunet_spine_ext.networks.facts import MemoryCount, NetworkFacts, network_facts
from nnunet_spine_ext.networks.plans_file import PlannedInput, read_planned_input
from nnunet_spine_ext.networks.registry import NETWORKS, entry

DEFAULT_CHANNELS = 1
DEFAULT_CLASSES = 20
"""MRSpineSeg: T2 images, background and 19 structures."""

HEADER = ("network", "what", "paper", "dims", "parameters (M)", "GMAC", "training memory (GB)", "trainers")


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


def registry_facts(
    planned: PlannedInput, *, name: str | None = None, memory: MemoryCount | None = None
) -> list[NetworkFacts]:
    """Return the facts of one network, or of all that take the plan's dimensions (2D ones take 3D slice by slice).

    Raises:
        PlanError: no such network, or the plan does not fit it.
    """
    rows = [entry(name)] if name else [r for r in NETWORKS.values() if len(planned.patch_size) >= min(r.dims)]
    return [
        network_facts(
            row,
            planned.architecture,
            patch_size=planned.patch_size,
            input_channels=planned.input_channels,
            num_classes=planned.num_classes,
            memory=memory,
        )
        for row in rows
    ]


def as_json(facts: Sequence[NetworkFacts]) -> str:
    """Return all facts as a JSON list."""
    return json.dumps([_record(one) for one in facts], indent=2)


def as_markdown(facts: Sequence[NetworkFacts]) -> str:
    """Return a Markdown table and a line that states the input."""
    lines = [HEADER, tuple("---" for _ in HEADER), *(_cells(one) for one in facts)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{_input_line(facts)}"


def as_text(facts: Sequence[NetworkFacts]) -> str:
    """Return an aligned table and a line that states the input; for one network, its sources too."""
    rows = [HEADER, *(_cells(one) for one in facts)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(facts) == 1:
        lines += ["", *_details(facts[0])]
    return "\n".join([*lines, "", _input_line(facts)])


def _cells(one: NetworkFacts) -> tuple[str, ...]:
    memory = "not counted" if one.training_memory_gb is None else f"{one.training_memory_gb:.1f}"
    dims = ", ".join(f"{d}D" for d in one.entry.dims)
    size = f"{one.parameters / 1e6:.1f}"
    row = one.entry
    return (row.name, row.summary, row.cite, dims, size, f"{one.gmac:.1f}", memory, ", ".join(row.trainers))


def _details(one: NetworkFacts) -> list[str]:
    options = ", ".join(f"{name}={value!r}" for name, value in one.entry.options.items()) or "defaults"
    known = [f"known size: {o.what}: {o.parameters:,} here, {o.published:,} in the source" for o in one.entry.oracles]
    return [f"paper: {one.entry.paper}", f"class: {one.entry.network}", f"options: {options}", *known]


def _input_line(facts: Sequence[NetworkFacts]) -> str:
    first = facts[0]
    size = " x ".join(map(str, first.patch_size))
    return f"For an input of {size}, {first.input_channels} channel(s), {first.num_classes} logits, batch 1."


def _record(one: NetworkFacts) -> dict[str, object]:
    row = one.entry
    return {
        "name": row.name,
        "family": row.family,
        "summary": row.summary,
        "paper": row.paper,
        "dims": list(row.dims),
        "network": row.network,
        "options": dict(row.options),
        "trainers": list(row.trainers),
        "known_sizes": [{"what": o.what, "parameters": o.parameters, "published": o.published} for o in row.oracles],
        "patch_size": list(one.patch_size),
        "input_channels": one.input_channels,
        "num_classes": one.num_classes,
        "parameters": one.parameters,
        "gmac": one.gmac,
        "training_memory_gb": one.training_memory_gb,
    }
