"""The rows of the registry, one module for each paper; importing them imports no network, and not even torch."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry
from nnunet_spine_ext.networks.rows import (
    paper000,
    paper000_hybrid,
    paper001,
    paper003,
    paper003_attention,
    paper003_slices,
    paper004,
    paper004_slices,
    unets,
)

_PAPERS = (
    paper000_hybrid, paper000, paper001, unets, paper003, paper003_slices, paper003_attention, paper004,
    paper004_slices,
)  # fmt: skip

NETWORKS: dict[str, NetworkEntry] = {row.name: row for paper in _PAPERS for row in paper.ROWS}
"""Name → row, in the order in which they are shown."""
