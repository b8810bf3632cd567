"""Paper 001 (Res50_UNet and its three comparators)."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry

ROWS: tuple[NetworkEntry, ...] = ()
