"""What a network costs: weights and multiply-accumulates for one input, counted on tensors without data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_spine_ext.networks.registry import NetworkEntry, build

MemoryCount = Callable[[Callable[[], nn.Module], Sequence[int]], float]
"""(build, patch size) → GB for one training step; the planner has one. This package does not import it."""


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """A row of the registry with what it costs on one input."""

    entry: NetworkEntry
    input_channels: int
    num_classes: int
    patch_size: tuple[int, ...]
    parameters: int
    gmac: float
    """10^9 multiply-accumulates of one forward pass at batch 1: half of what torch's FlopCounterMode counts."""
    training_memory_gb: float | None = None


def network_facts(
    row: NetworkEntry,
    architecture: Mapping[str, Any],
    *,
    patch_size: Sequence[int],
    input_channels: int,
    num_classes: int,
    memory: MemoryCount | None = None,
) -> NetworkFacts:
    """Count weights and multiply-accumulates of a network built for a plan.

    Args:
        row: of the registry.
        architecture: as `registry.build` takes it.
        patch_size: voxels on each axis, in the plan's order.
        input_channels: channels of the image.
        num_classes: logits for each voxel.
        memory: counts the memory of a training step; None leaves it out.

    Raises:
        PlanError: the plan does not fit the network, or the patch the plan.
    """

    def make() -> nn.Module:
        return build(
            row.name, architecture, input_channels=input_channels, num_classes=num_classes, patch_size=patch_size
        )

    with torch.device("meta"):
        network = make().eval()
        image = torch.empty(1, input_channels, *patch_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return NetworkFacts(
        entry=row,
        input_channels=input_channels,
        num_classes=num_classes,
        patch_size=tuple(patch_size),
        parameters=sum(p.numel() for p in network.parameters()),
        gmac=counter.get_total_flops() / 2e9,
        training_memory_gb=memory(make, patch_size) if memory else None,
    )
