"""Every row of the registry as a small network on a small plan, for the tests of what all of them promise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.registry import NETWORKS, NetworkEntry, build
from nnunet_spine_ext.networks.slices import slicing_axis
from tests.networks.tiny import PLANS, SMALL, TinyPlan

CLASSES = 3
FLAT = PLANS["2d"]


def _merged_shrink() -> dict[str, dict[str, Any]]:
    """What each `shrink_*.py` beside this file says: row → options that make a small network of the same structure."""
    merged: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(__file__).parent.glob("shrink_*.py")):
        table = import_module(f"tests.networks.{path.stem}").SHRINK
        twice = merged.keys() & table.keys()
        assert not twice, f"{path.name} shrinks rows that another file shrinks: {sorted(twice)}"
        merged |= table
    return merged


SHRINK = _merged_shrink()

ROWS = list(NETWORKS)
U_SHAPES = [name for name, row in NETWORKS.items() if row.family == "u-shape"]
SLICE_NETWORKS = [name for name, row in NETWORKS.items() if row.family == "slice"]

every_row = pytest.mark.parametrize("row", ROWS)
every_u_shape = pytest.mark.parametrize("row", U_SHAPES)
every_slice_network = pytest.mark.parametrize("row", SLICE_NETWORKS)

REPRESENTATIVES = {*U_SHAPES[:1], *SLICE_NETWORKS[:1]}
"""One of each family: for checks that take seconds a network. The others with -m slow."""
QUICK_PLANS = ("5 slices", "halved through the plane", "2d")

representatives_quickly = pytest.mark.parametrize(
    "row", [row if row in REPRESENTATIVES else pytest.param(row, marks=pytest.mark.slow) for row in ROWS]
)


def plans_of(row: NetworkEntry) -> list[str]:
    """The plans that a row is tested on: of its dimensions; one of two dimensions also takes a 3D plan in slices."""
    own = [name for name, plan in PLANS.items() if len(plan.patch) in row.dims]
    return own if 3 in row.dims else [*own, "5 slices", "halved through the plane"]


def _rows_and_plans() -> Iterator[Any]:
    for row in NETWORKS.values():
        for name in plans_of(row):
            slow = row.name not in REPRESENTATIVES and name not in QUICK_PLANS
            yield pytest.param(row.name, PLANS[name], id=f"{row.name}-{name}", marks=[pytest.mark.slow] if slow else [])


every_row_and_plan = pytest.mark.parametrize(("row", "plan"), list(_rows_and_plans()))


def home(row: str) -> TinyPlan:
    """The plan on which a row is tested where one plan is enough: in 3D if the network itself is."""
    return SMALL if 3 in NETWORKS[row].dims else FLAT


def tiny(
    row: str,
    plan: TinyPlan | None = None,
    *,
    deep_supervision: bool = False,
    seed: int = 0,
    patch: tuple[int, ...] | None = None,
    **changed: Any,
) -> nn.Module:
    """A small network of the row, for a plan and its patch, initialised as a trainer initialises it."""
    plan = plan or home(row)
    torch.manual_seed(seed)
    words = {**plan.words(**changed), "options": SHRINK.get(row, {})}
    network = build(
        row,
        words,
        input_channels=1,
        num_classes=CLASSES,
        deep_supervision=deep_supervision,
        patch_size=patch or plan.patch,
    )
    initialise = getattr(network, "initialize", None)
    if initialise is not None:
        network.apply(initialise)
    return network


def trained(row: str, plan: TinyPlan | None = None, **changed: Any) -> nn.Module:
    """A small network as it is trained: with all its outputs."""
    return tiny(row, plan, deep_supervision=NETWORKS[row].family == "u-shape", **changed).train()


def without_dropout(network: nn.Module) -> nn.Module:
    """Switch off what is random in training."""
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return network


def wake(network: nn.Module) -> nn.Module:
    """Give parameters that start at zero (a learnt weight of a branch) a value, so that gradients pass."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def frozen(network: nn.Module) -> set[str]:
    """The parameters that network classes name in `frozen`: names of parameters or modules, from the class on."""
    named = [
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        for name in getattr(type(module), "frozen", ())
    ]
    parameters = [name for name, _ in network.named_parameters()]
    return {p for p in parameters if any(p == name or p.startswith(f"{name}.") for name in named)}


def all_outputs(outputs: Tensor | list[Tensor]) -> list[Tensor]:
    return outputs if isinstance(outputs, list) else [outputs]


def loss_of(outputs: Tensor | list[Tensor]) -> Tensor:
    """Cross-entropy with random targets, summed over outputs; no symmetry that would cancel gradients."""
    torch.manual_seed(7)
    total = torch.zeros(())
    for logits in all_outputs(outputs):
        size = (logits.shape[0], *logits.shape[2:])
        if logits.shape[1] == CLASSES:
            term = nn.functional.cross_entropy(logits.float(), torch.randint(0, CLASSES, size))
        else:
            target = torch.randint(0, 2, logits.shape).float()
            term = nn.functional.binary_cross_entropy_with_logits(logits.float(), target)
        total = total + term
    return total


def output_sizes(row: str, plan: TinyPlan) -> list[tuple[int, ...]]:
    """The sizes at which a trainer scores a row on a plan, highest resolution first.

    nnU-Net: the patch over the cumulative strides, without the last stage. An axis that is taken slice by slice keeps
    its length; a row may supervise all its outputs at full resolution.
    """
    entry, stages = NETWORKS[row], len(plan.strides)
    if getattr(entry, "supervision", "scales") == "full":
        return [plan.patch] * (stages - 1)
    kept = slicing_axis(plan.words()) if len(plan.patch) == 3 and 3 not in entry.dims else None
    totals = [tuple(math.prod(axis) for axis in zip(*plan.strides[: s + 1], strict=True)) for s in range(stages - 1)]
    return [
        tuple(p if axis == kept else p // t for axis, (p, t) in enumerate(zip(plan.patch, total, strict=True)))
        for total in totals
    ]
