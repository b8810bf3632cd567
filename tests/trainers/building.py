"""A trainer's network for a tiny plan, without weights in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from tests.training.tiny import make_plans


def network_without_data(
    trainer: Any, *, configuration: str, classes: int, channels: int = 1, plans: Mapping[str, Any] | None = None
) -> nn.Module:
    """Return what nnU-Net would train, on the meta device."""
    manager = PlansManager(dict(plans or make_plans()))
    with torch.device("meta"):
        network: nn.Module = trainer.build_network_architecture(
            manager,
            manager.get_configuration(configuration),
            channels,
            classes,
            trainer.recipe.deep_supervision is not False,
        )
    return network
