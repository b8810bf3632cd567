"""What a network costs: weights and multiply-accumulates for one input, counted on tensors without data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_spine_ext.networks.entries import NetworkEntry
from nnunet_spine_ext.networks.plans_file import PlannedInput
from nnunet_spine_ext.networks.registry import build, build_preset

MemoryCount = Callable[[NetworkEntry, PlannedInput], "float | None"]
"""(row, plan) → GB for one training step by the row's first trainer, None where that cannot be counted; the planner
has one. This package does not import it."""


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """A row of the registry with what it costs on one input."""

    entry: NetworkEntry
    input_channels: int
    num_classes: int
    patch_size: tuple[int, ...]
    parameters: int
    frozen_parameters: int
    """Of them, those that never learn."""
    gmac: float
    """10^9 multiply-accumulates of one forward pass at batch 1: half of what torch's FlopCounterMode counts."""
    training_memory_gb: float | None = None


def network_facts(row: NetworkEntry, planned: PlannedInput, *, memory: MemoryCount | None = None) -> NetworkFacts:
    """Count weights and multiply-accumulates of a network built for a plan.

    Args:
        row: of the registry.
        planned: the words of the plan, the patch in the plan's order, channels and logits.
        memory: counts the memory of a training step; None leaves it out.

    Raises:
        PlanError: the plan does not fit the network, or the patch the plan.
    """
    network = built_without_data(
        lambda: build(
            row.name,
            planned.architecture,
            input_channels=planned.input_channels,
            num_classes=planned.num_classes,
            patch_size=planned.patch_size,
        )
    )
    parameters = list(network.parameters())
    return NetworkFacts(
        entry=row,
        input_channels=planned.input_channels,
        num_classes=planned.num_classes,
        patch_size=planned.patch_size,
        parameters=sum(p.numel() for p in parameters),
        frozen_parameters=sum(p.numel() for p in parameters if not p.requires_grad),
        gmac=forward_gmac(network, (planned.input_channels, *planned.patch_size)),
        training_memory_gb=memory(row, planned) if memory else None,
    )


def preset_gmac(row: NetworkEntry, arguments: dict[str, object], *, input_channels: int, size: Sequence[int]) -> float:
    """Return the multiply-accumulates, in 10^9, of the form in which a paper states a row.

    Args:
        row: one with a preset.
        arguments: of the preset, for example of one of the row's oracles.
        input_channels: channels of the image.
        size: of the image.
    """
    network = built_without_data(lambda: build_preset(row.name, arguments))
    return forward_gmac(network, (input_channels, *size))


def built_without_data(make: Callable[[], nn.Module]) -> nn.Module:
    """Return the network that `make` makes, in evaluation, its weights without data."""
    try:
        with torch.device("meta"):
            return make().eval()
    except (RuntimeError, NotImplementedError):
        # A constructor that reads values of tensors (a list of drop rates, say) needs data: drop them afterwards.
        return make().eval().to("meta")


def forward_gmac(network: nn.Module, image: Sequence[int]) -> float:
    """Return the multiply-accumulates, in 10^9, of one forward pass on an image (C, ...) at batch 1."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, *image, device="meta"))
    return float(counter.get_total_flops()) / 2e9
