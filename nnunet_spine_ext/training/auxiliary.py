"""Losses of networks that have further outputs in training (auxiliary heads, label borders).

Axes: B batch, K classes or regions, then the spatial axes of the patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from nnunet_spine_ext.networks.slice_network import AuxTerm


class AuxLoss(nn.Module):
    """The loss of the main output, plus a weighted loss for each further output.

    Labels are judged by the same loss as the main output, borders by binary cross-entropy. In evaluation the network
    gives the main output alone, and its loss is returned.

    Args:
        loss: of one output (B, K, ...) against one target.
        terms: one for each further output, in the network's order.
        plane: the two spatial axes of a slice, counted from the end: borders are those within slices.
    """

    target_form: Literal["tensor"] = "tensor"
    """One target for all outputs: what the count of training memory must give."""

    def __init__(self, loss: nn.Module, terms: Sequence[AuxTerm], *, plane: tuple[int, int] = (-2, -1)) -> None:
        super().__init__()
        self.loss = loss
        self.terms = tuple(terms)
        self.plane = plane

    def forward(self, outputs: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        """Return the loss of `outputs` against `target` (B, 1, ...), or (B, R, ...) with regions."""
        if isinstance(outputs, torch.Tensor):
            return self.loss(outputs, target)  # type: ignore[no-any-return]
        main, *further = outputs
        if len(further) != len(self.terms):
            raise ValueError(f"the network gave {len(further)} further outputs, the recipe has {len(self.terms)} terms")
        total: torch.Tensor = self.loss(main, target)
        for output, term in zip(further, self.terms, strict=True):
            total = total + term.weight * self._term(output, target, term)
        return total

    def _term(self, output: torch.Tensor, target: torch.Tensor, term: AuxTerm) -> torch.Tensor:
        if term.kind == "seg":
            return self.loss(output, target)  # type: ignore[no-any-return]
        border = label_border(target, plane=self.plane).to(torch.float32)
        return functional.binary_cross_entropy_with_logits(output.float(), border)


def label_border(target: torch.Tensor, *, plane: tuple[int, int] = (-2, -1)) -> torch.Tensor:
    """Return where a voxel has another label than one of its four neighbours in its slice, (B, 1, ...), boolean.

    Args:
        target: label map (B, 1, ...), or regions (B, R, ...), of any dtype.
        plane: the axes of a slice.
    """
    border = torch.zeros_like(target, dtype=torch.bool)
    for axis in plane:
        length = target.shape[axis]
        differs = target.narrow(axis, 1, length - 1) != target.narrow(axis, 0, length - 1)
        border.narrow(axis, 1, length - 1).logical_or_(differs)
        border.narrow(axis, 0, length - 1).logical_or_(differs)
    return border.any(dim=1, keepdim=True)
