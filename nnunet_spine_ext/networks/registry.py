"""From the table of networks to a network: a network is one file and one row (in `rows/`).

Tests, docs, the `networks` command and the benchmark read this table. Importing it imports no network; `rows` alone,
which is enough to show it, not even torch.
"""

from __future__ import annotations

import pydoc
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from nnunet_spine_ext.errors import PlanError
from nnunet_spine_ext.networks.entries import NetworkEntry, ParameterOracle
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError, plan_dims
from nnunet_spine_ext.networks.plan_words import plan_words
from nnunet_spine_ext.networks.rows import NETWORKS
from nnunet_spine_ext.networks.slice_network import AuxTerm
from nnunet_spine_ext.networks.slices import SliceOptions, SliceWise, plane_words, slicing_axis

__all__ = ["NETWORKS", "NetworkEntry", "ParameterOracle", "auxiliary_terms", "build", "build_preset", "entry"]

SLICES_KEY = "slices"
"""Where the options of a row keep those of `SliceWise`."""


def entry(name: str) -> NetworkEntry:
    """Return the row called `name`.

    Raises:
        PlanError: there is none.
    """
    if name not in NETWORKS:
        raise PlanError(f"There is no network {name!r}; there are {', '.join(NETWORKS)}.")
    return NETWORKS[name]


def build(
    name: str,
    architecture: Mapping[str, Any],
    *,
    input_channels: int,
    num_classes: int,
    deep_supervision: bool = False,
    patch_size: Sequence[int] | None = None,
) -> nn.Module:
    """Build a network for any U-Net plan; its weights are torch's defaults (apply `network.initialize` for nnU-Net's).

    Args:
        name: of a row.
        architecture: the `arch_kwargs` of a plan for PlainConvUNet, ResidualEncoderUNet or one of ours, dotted paths
            already replaced by classes. Its "options", if any, go over those of the row.
        input_channels: channels of the image.
        num_classes: logits for each voxel.
        deep_supervision: whether the network returns all its resolutions.
        patch_size: of the plan, in voxels. Needed by networks that work slice by slice; a 3D patch on a 2D plan
            (nnU-Net's words of `2d` with slices, the configuration `25d`) is taken slice by slice by every network.

    Raises:
        PlanError: no such row, or words that do not fit together.
    """
    row = entry(name)
    words = plan_words(architecture)
    options = {**row.options, **(architecture.get("options") or {})}
    slices = SliceOptions.of(options.pop(SLICES_KEY, None))
    axis = slice_axis(row, words, patch_size)
    dims = 2 if axis is not None else plan_dims(words["conv_op"])
    if dims not in row.dims:
        raise PlanError(f"The network {name!r} takes no {dims}D plan.")
    adapter = SliceWise.around(slices, axis=axis) if axis is not None or slices.coordinates else None
    arguments: dict[str, Any] = {
        "input_channels": adapter.channels(input_channels) if adapter else input_channels,
        "num_classes": num_classes,
        "options": options,
    }
    if row.family == "u-shape":
        arguments |= {"deep_supervision": deep_supervision, **(plane_words(words, axis) if axis is not None else words)}
    else:
        arguments["patch_size"] = _slice_size(row, patch_size, axis)
    network: nn.Module = _located(row.network)(**arguments)
    return adapter.wrap(network) if adapter else network


def slice_axis(row: NetworkEntry, words: Mapping[str, Any], patch_size: Sequence[int] | None) -> int | None:
    """Return the axis along which a network takes a patch slice by slice, in the plan's order; None where it does not.

    That is a 3D patch for a network of two dimensions, or on the words of a 2D plan.
    """
    planned = plan_dims(words["conv_op"])
    dims = planned if patch_size is None else len(patch_size)
    if dims == 2 or (planned == 3 and 3 in row.dims):
        return None
    return slicing_axis(words) if planned == 3 else 0


def auxiliary_terms(name: str, options: Mapping[str, Any]) -> tuple[AuxTerm, ...]:
    """Return what a network of family `slice` is also trained on besides its main output; options over the row's."""
    row = entry(name)
    merged = {key: value for key, value in {**row.options, **options}.items() if key != SLICES_KEY}
    terms: tuple[AuxTerm, ...] = _located(row.network).auxiliary(merged)
    return terms


def build_preset(name: str, arguments: Mapping[str, object]) -> nn.Module:
    """Build the paper's own form of a row, for example from the arguments of one of its oracles.

    Raises:
        PlanError: no such row, or it has no such form.
    """
    row = entry(name)
    if row.preset is None:
        raise PlanError(f"The network {name!r} has no form of its paper's own.")
    network: nn.Module = _located(row.preset)(**arguments)
    return network


def _slice_size(row: NetworkEntry, patch_size: Sequence[int] | None, axis: int | None) -> tuple[int, ...]:
    if patch_size is None:
        raise NetworkPlanError(f"The network {row.name!r} is built for a patch size; give patch_size.")
    return tuple(int(n) for i, n in enumerate(patch_size) if i != axis)


def _located(path: str) -> Any:  # noqa: ANN401 (a class or a function; its arguments are the caller's contract)
    found = pydoc.locate(path)
    assert found is not None, path
    return found
