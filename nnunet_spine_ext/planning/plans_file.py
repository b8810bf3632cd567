"""Reading and writing plans files, and the key that says what a file of ours was made for."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

SPINE_KEY = "spine"
"""Where a plans file says what it was made for. nnU-Net passes over keys that it does not know."""


def read_json(file: Path) -> dict[str, Any] | None:
    """Return the content of a plans file or dataset.json, `None` if there is no such file."""
    if not file.is_file():
        return None
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write the file; a kill leaves either the old one or the new one."""
    partial = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        partial.write_text(json.dumps(content, indent=4))
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def merged(plans: dict[str, Any], old: Mapping[str, Any] | None, *, replaced: Collection[str]) -> dict[str, Any]:
    """Return `plans` with the configurations of a file written before, except those called `replaced`."""
    if old is None:
        return plans
    kept = [name for name in old["configurations"] if name not in replaced]
    counted = old.get(SPINE_KEY, {}).get("counted_gb", {})
    for name in kept:
        plans["configurations"].setdefault(name, old["configurations"][name])
        if name in counted:
            plans[SPINE_KEY]["counted_gb"].setdefault(name, counted[name])
    return plans
