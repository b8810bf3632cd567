"""Options that make small networks of the rows of papers 003 and 004 which a plan shapes."""

from __future__ import annotations

from typing import Any

SHRINK: dict[str, dict[str, Any]] = {
    # Narrow stages have one unit left inside squeeze and excitation, which is often dead.
    "resunetpp": {"se_reduction": 1},
}
