"""Paper 004 (ASPP-UNet and its comparators)."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry

ROWS: tuple[NetworkEntry, ...] = ()
