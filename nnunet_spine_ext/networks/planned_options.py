"""The options that all networks of `planned` share, and the choices of layers that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from torch import nn

from nnunet_spine_ext.networks.blocks.layers import Factory, Layers
from nnunet_spine_ext.networks.options import NetworkOptions, is_count
from nnunet_spine_ext.networks.plan_shape import PerStage

BATCH_NORM: Mapping[int, Factory] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}

NOTHING_DILATED: Mapping[str, str] = {"patch_size": "nothing here is dilated"}
"""`PlannedOptions.without_effect` of a network without dilations."""


@dataclass(frozen=True, kw_only=True)
class PlannedOptions(NetworkOptions):
    """Options of every network here: what replaces the plan's choices, and what the plan's words do not say.

    Raises:
        NetworkPlanError: a value that is not allowed; all of them are named.
    """

    without_effect: ClassVar[Mapping[str, str]] = {}
    """Option of this class that says nothing in a network → why; any other value than the default is refused."""

    norm: Literal["plan", "batch", "none"] = "plan"
    """The plan's norm, BatchNorm, or none at all."""
    activation: Literal["plan", "relu"] = "plan"
    """The plan's nonlinearity, or ReLU."""
    bias: Literal["plan", "yes", "no"] = "plan"
    """Of convolutions that a norm follows: as the plan says, or not. The others have one unless their block says so."""
    heads: Literal["every", "full"] = "every"
    """Heads at every resolution, for deep supervision, or (papers) at the full one alone."""
    patch_size: tuple[int, ...] | None = None
    """The plan's patch: no dilation reaches further than half of a map. None: dilations as they are. Of a patch with
    one axis more than the plan (slices), the last axes count."""

    def __post_init__(self) -> None:
        if self.patch_size is not None:
            object.__setattr__(self, "patch_size", tuple(int(n) for n in self.patch_size))
        super().__post_init__()

    def wrong_values(self) -> list[str]:
        """Return a message for each option that says nothing here, and for a patch that is none."""
        given = {name: getattr(self, name) for name in self.without_effect}
        found = [
            f"{name} has no effect (given: {name}={value!r}): {self.without_effect[name]}"
            for name, value in given.items()
            if value != getattr(type(self), name)
        ]
        patch = self.patch_size
        if patch is not None and not (len(patch) in (2, 3) and all(map(is_count, patch))):
            found.append(f"patch_size is {patch}, expected 2 or 3 positive sizes")
        return found

    def widths(self, planned: PerStage) -> PerStage:
        """Return the widths of the stages, for those that are planned. Hook."""
        return planned


def chosen_layers(options: PlannedOptions, plan: Layers) -> Layers:
    """Return the plan's choices of layers, changed as the options say."""
    changed: dict[str, Any] = {}
    if options.norm == "batch":
        changed |= {"norm_op": BATCH_NORM[plan.axes.dims], "norm_op_kwargs": {}}
    if options.norm == "none":
        changed |= {"norm_op": None, "norm_op_kwargs": {}}
    if options.activation == "relu":
        changed |= {"nonlin": nn.ReLU, "nonlin_kwargs": {"inplace": True}}
    if options.bias != "plan":
        changed["conv_bias"] = options.bias == "yes"
    layers = replace(plan, **changed)
    # Without a norm the bias is the only offset that a convolution has.
    return layers if layers.norm_op else replace(layers, conv_bias=True)
