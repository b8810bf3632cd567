"""The loss of networks whose outputs all have full resolution and one target (UNet++).

nnU-Net's deep supervision pairs each output with a target of its own resolution. Given one target, its wrapper trains
the first output and leaves out all others without a word, because `zip` ends with the shortest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from nnunet_spine_ext.networks.blocks.recompute import recomputed


class NestedSupervisionLoss(nn.Module):
    """The mean over all outputs of one loss against the same target.

    Args:
        loss: of one output (B, K, ...) against one target.
        recompute: compute each output's loss again in backward, instead of keeping its probabilities (float32, at full
            resolution, several times each) from forward. For seven outputs of 20 classes on 6 x 512 x 512 voxels that
            is a fifth of a training step's memory. `loss` must then have no state and draw nothing.
    """

    target_form: Literal["list of one"] = "list of one"
    """What nnU-Net's loaders give where there is one scale: what the count of training memory must give, too."""

    def __init__(self, loss: nn.Module, *, recompute: bool = True) -> None:
        super().__init__()
        self.loss = loss
        self.recompute = recompute

    def forward(self, outputs: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the mean loss of `outputs`, each (B, K, ...), against `targets[0]`.

        Raises:
            ValueError: outputs or targets are no lists, or there is not exactly one target.
        """
        if isinstance(outputs, torch.Tensor) or isinstance(targets, torch.Tensor) or len(targets) != 1:
            raise ValueError(
                "nested supervision takes a list of outputs and a list of one target, got "
                f"{_described(outputs)} and {_described(targets)}"
            )
        losses = [recomputed(self.loss, output, targets[0], when=self.recompute) for output in outputs]
        return torch.stack(losses).mean()


def _described(tensors: torch.Tensor | Sequence[torch.Tensor]) -> str:
    return "a tensor" if isinstance(tensors, torch.Tensor) else f"a list of {len(tensors)}"
