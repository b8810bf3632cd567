"""The contract of 2D networks that have stages of their own (an encoder and a head), instead of a plan's.

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from torch import nn


class AuxTerm(NamedTuple):
    """An output that a network gives in training besides its logits."""

    kind: Literal["seg", "edge"]
    """`seg`: logits (B, K, H, W) for the labels themselves; `edge`: logits (B, 1, H, W) for the borders of labels."""
    weight: float
    """Of its loss, where the main output has 1."""


class SliceNetwork(nn.Module):
    """Base: takes `input_channels`, `num_classes`, `patch_size` (H, W) and `options`; any slice size unless it says so.

    Returns raw logits (B, K, H, W) at the input's size. In training, if `aux` is not empty: a list of them and one
    output, also at the input's size, for each term of `aux`. Parameters never depend on training or evaluation.
    """

    aux: tuple[AuxTerm, ...] = ()

    @classmethod
    def auxiliary(cls, options: Mapping[str, Any]) -> tuple[AuxTerm, ...]:  # noqa: ARG003
        """Return the terms that a network with these options (as a row or a plan holds them) has. None here."""
        return ()
