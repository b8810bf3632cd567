"""From the `arch_kwargs` of any U-Net plan to the words that our plan-driven networks take."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError

logger = logging.getLogger(__name__)

REQUIRED = frozenset({
    "n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", "n_conv_per_stage",
    "n_conv_per_stage_decoder",
})  # fmt: skip
WORDS = REQUIRED | {
    "conv_bias", "norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs", "nonlin", "nonlin_kwargs",
}  # fmt: skip
"""What a network takes from a plan."""

SET_ELSEWHERE = frozenset({"options", "deep_supervision"})
"""Not the shape of the network: an argument of its own, or the network's own options."""

WITHOUT_EFFECT: Mapping[str, object] = {
    "nonlin_first": False,
    "block": None,
    "bottleneck_channels": None,
    "stem_channels": None,
}
"""Words of nnU-Net's own networks that shape their blocks, not ours, and the value that says nothing."""

CONVS_PER_RESIDUAL_BLOCK = 2


def plan_words(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words of a plan for PlainConvUNet, ResidualEncoderUNet or one of ours, in one vocabulary.

    `n_blocks_per_stage` of residual encoders becomes `n_conv_per_stage`, two convolutions for each block. A word that
    has no meaning here is left out with a warning in the log.

    Raises:
        NetworkPlanError: a word that no such plan has, or a missing one.
    """
    unknown = sorted(set(architecture) - WORDS - SET_ELSEWHERE - set(WITHOUT_EFFECT) - {"n_blocks_per_stage"})
    if unknown:
        raise NetworkPlanError(
            f"The plan's architecture has {', '.join(unknown)}, which is no word of a U-Net plan known here. "
            "Plan the dataset with nnU-Net's default or residual-encoder planner, or with nnunet_spine plan."
        )
    for name, nothing in WITHOUT_EFFECT.items():
        if architecture.get(name, nothing) != nothing:
            logger.warning("The plan's %s has no effect on this network.", name)
    words = {name: value for name, value in architecture.items() if name in WORDS}
    if "n_blocks_per_stage" in architecture:
        words["n_conv_per_stage"] = _convs(architecture["n_blocks_per_stage"])
    missing = sorted(REQUIRED - set(words))
    if missing:
        raise NetworkPlanError(f"The plan's architecture lacks {', '.join(missing)}.")
    return words


def _convs(blocks: int | list[int] | tuple[int, ...]) -> int | list[int]:
    if isinstance(blocks, int):
        return CONVS_PER_RESIDUAL_BLOCK * blocks
    return [CONVS_PER_RESIDUAL_BLOCK * n for n in blocks]
