"""Paper 002 (the CT U-Nets)."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry

ROWS: tuple[NetworkEntry, ...] = ()
