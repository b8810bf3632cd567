"""Deep supervision: one loss for each decoder resolution, with nnU-Net's weights and without its two traps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import nn

UNUSED_BUT_CONNECTED = 1e-6
"""Weight of the lowest output under plain DDP, which does not accept parameters without a gradient."""


def deep_supervision_weights(outputs: int, *, keep_lowest: bool) -> tuple[float, ...]:
    """Return nnU-Net's weights, highest resolution first: halved at each step, the lowest unused, their sum 1.

    A plan with two stages has one output. nnU-Net's formula gives 0 / 0 = NaN there; its weight is 1 here.

    Args:
        outputs: number of decoder outputs, at least 1.
        keep_lowest: give the lowest output a tiny weight instead of none (DDP without torch.compile).
    """
    if outputs < 1:
        raise ValueError(f"deep supervision needs a plan with at least 2 stages, this one gives {outputs} outputs")
    if outputs == 1:
        return (1.0,)
    lowest = UNUSED_BUT_CONNECTED if keep_lowest else 0.0
    weights = [*(0.5**i for i in range(outputs - 1)), lowest]
    return tuple(w / sum(weights) for w in weights)


def slice_wise_scales(scales: Sequence[Sequence[float]], *, axis: int, dims: int) -> list[list[float]]:
    """Return the scales of a plan's stages for a network that works slice by slice: 1 along the slices.

    Args:
        scales: highest resolution first; of two axes (a 2D plan with a patch of several slices) or three.
        axis: of the slices.
        dims: axes of the patch.
    """
    planes = [[s for i, s in enumerate(scale) if len(scale) < dims or i != axis] for scale in scales]
    return [[*plane[:axis], 1.0, *plane[axis:]] for plane in planes]


class DeepSupervisionLoss(DeepSupervisionWrapper):
    """nnU-Net's wrapper, except that surplus outputs are an error (`zip` would silently not train them)."""

    def __init__(self, loss: nn.Module, weights: Sequence[float]) -> None:
        super().__init__(loss, weights)

    def forward(self, outputs: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the weighted sum of the losses of `outputs[i]` against `targets[i]`, highest resolution first."""
        if not len(outputs) == len(targets) == len(self.weight_factors):
            raise ValueError(
                f"the network gave {len(outputs)} outputs for {len(targets)} targets and "
                f"{len(self.weight_factors)} weights: its decoder does not follow the strides of the plan"
            )
        loss: torch.Tensor = super().forward(outputs, targets)
        return loss
