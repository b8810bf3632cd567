"""Options that make small networks of the rows of paper 000 whose widths are their own."""

from __future__ import annotations

from typing import Any

SHRINK: dict[str, dict[str, Any]] = {"unetpp-paper000": {"width": 4}}
