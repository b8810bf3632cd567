"""The networks of papers 001 to 004 that are variants of one U-Net (`networks/unet.py`)."""

from __future__ import annotations

from nnunet_spine_ext.networks.entries import NetworkEntry

ROWS: tuple[NetworkEntry, ...] = ()
