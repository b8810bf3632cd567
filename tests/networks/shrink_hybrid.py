"""Options that make small networks of rows whose widths are their own."""

from __future__ import annotations

from typing import Any

SHRINK: dict[str, dict[str, Any]] = {"hybrid-paper": {"width": 4}}
