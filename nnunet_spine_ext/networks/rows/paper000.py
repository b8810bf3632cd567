"""Paper 000: what its hybrid is compared with and descends from."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry

ROWS: tuple[NetworkEntry, ...] = ()
