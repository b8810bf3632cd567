"""Paper 003 (twelve networks compared on MRSpineSeg)."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry

ROWS: tuple[NetworkEntry, ...] = ()
