"""What a plan costs beside the stock plan: one row per configuration, plan and network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_spine_ext.errors import PlanError
from nnunet_spine_ext.planning.counting import ConfigurationCounter
from nnunet_spine_ext.planning.memory import TrainingMemory


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration of one plan, counted for one trainer."""

    configuration: str
    plans: str
    trainer: str
    patch_size: tuple[int, ...]
    batch_size: int
    image_share: float
    """Voxels of the patch over voxels of the median image (at most 1 along each axis)."""
    memory: TrainingMemory | None
    """`None` when the trainer cannot use this configuration."""
    problem: str = ""


def compare(plans: Mapping[str, Any], counter: ConfigurationCounter, *, only: Sequence[str] | None = None) -> list[Row]:
    """Return a row for each configuration of `plans` (or those in `only`)."""
    manager = PlansManager(dict(plans))
    names = [name for name in manager.available_configurations if only is None or name in only]
    return [_row(name, manager, counter) for name in names]


def _row(name: str, manager: PlansManager, counter: ConfigurationCounter) -> Row:
    configuration = manager.get_configuration(name).configuration
    patch = tuple(int(n) for n in configuration["patch_size"])
    shape = configuration["median_image_size_in_voxels"]
    memory, problem = None, ""
    try:
        memory = counter.count(configuration)
    except PlanError as error:
        problem = str(error)
    return Row(
        configuration=name,
        plans=manager.plans_name,
        trainer=counter.trainer.__name__,
        patch_size=patch,
        batch_size=int(configuration["batch_size"]),
        # The patch of 25d has an axis more than the slices that its median image is given in.
        image_share=prod(min(1.0, n / s) for n, s in zip(patch[-len(shape) :], shape, strict=True)),
        memory=memory,
        problem=problem,
    )


HEADINGS = ("configuration", "plans", "trainer", "patch", "batch", "counted GB", "Mvoxels/step", "of the image")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a plain text table."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.configuration,
        row.plans,
        row.trainer,
        "×".join(map(str, row.patch_size)),
        str(row.batch_size),
        f"{row.memory.total_gb:.2f}" if row.memory else "cannot",
        f"{prod(row.patch_size) * row.batch_size / 1e6:.2f}",
        f"{row.image_share:.0%}",
    )
