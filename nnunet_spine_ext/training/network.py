"""From an nnU-Net plan to one of our networks: names become classes, the registry builds, nnU-Net's init runs."""

from __future__ import annotations

import pydoc
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel

from nnunet_spine_ext.errors import PlanError
from nnunet_spine_ext.networks import registry

OPTIONS_KEY = "options"
"""Where a plan made for one of our networks keeps that network's options."""


def resolve_architecture(arch_kwargs: Mapping[str, Any], *, names: Sequence[str]) -> dict[str, Any]:
    """Return the plan's `arch_kwargs` with the entries called `names` (dotted paths in JSON) replaced by classes.

    Raises:
        PlanError: a path cannot be imported.
    """
    resolved = dict(arch_kwargs)
    for name in names:
        path = arch_kwargs.get(name)
        if isinstance(path, str):
            resolved[name] = pydoc.locate(path)
            if resolved[name] is None:
                raise PlanError(f"The plan's {name} is {path!r}, which cannot be imported. Plan the dataset again.")
    return resolved


def build_network(
    name: str,
    architecture: Mapping[str, Any],
    *,
    options: Mapping[str, object],
    input_channels: int,
    num_classes: int,
    deep_supervision: bool,
    patch_size: Sequence[int],
) -> nn.Module:
    """Build the registry's network `name` for a resolved plan and initialise it as nnU-Net initialises its own.

    The trainer names the network and its options. Options that the plan carries were chosen for another trainer's
    network; they are left out, and `ignored_plan_options` says so for the log.
    """
    wanted = {key: value for key, value in architecture.items() if key != OPTIONS_KEY}
    if options:
        wanted[OPTIONS_KEY] = dict(options)
    network = registry.build(
        name,
        wanted,
        input_channels=input_channels,
        num_classes=num_classes,
        deep_supervision=deep_supervision,
        patch_size=patch_size,
    )
    initialise = getattr(network, "initialize", None)
    if initialise is not None:
        network.apply(initialise)
    if not deep_supervision:
        _freeze_unused_heads(network)
    return network


def _freeze_unused_heads(network: nn.Module) -> None:
    """Take the heads of the lower resolutions out of training: DDP stops at a weight that gets no gradient.

    All heads are there in any case, so that a checkpoint loads whatever the deep supervision; the last head is that of
    the highest resolution, as in nnU-Net's own networks.
    """
    heads = getattr(getattr(network, "decoder", None), "seg_layers", None)
    for head in list(heads or ())[:-1]:
        head.requires_grad_(False)


def ignored_plan_options(arch_kwargs: Mapping[str, Any], options: Mapping[str, object]) -> dict[str, str]:
    """Return the options of the plan that the trainer's own replace: name → "the plan's, not the trainer's"."""
    planned = arch_kwargs.get(OPTIONS_KEY) or {}
    return {
        name: f"{value!r} in the plan, {options.get(name, 'the default')!r} here"
        for name, value in planned.items()
        if options.get(name) != value
    }


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside any nesting of DistributedDataParallel and torch.compile."""
    while isinstance(network, (DistributedDataParallel, OptimizedModule)):
        network = network.module if isinstance(network, DistributedDataParallel) else network._orig_mod
    return network


def set_deep_supervision(network: nn.Module, enabled: bool) -> None:
    """Make a (possibly wrapped) network return all its resolutions, or only the highest.

    Raises:
        PlanError: the network cannot do what is asked.
    """
    inner = unwrapped(network)
    owner = getattr(inner, "decoder", inner)
    if hasattr(owner, "deep_supervision"):
        owner.deep_supervision = enabled
    elif enabled:
        raise PlanError(
            f"{type(inner).__name__} has no deep supervision. Train it with a recipe that has it switched off "
            "(recipe = Recipe(deep_supervision=False))."
        )


def parameter_count(network: nn.Module) -> int:
    """Return the number of weights."""
    return sum(p.numel() for p in network.parameters())
