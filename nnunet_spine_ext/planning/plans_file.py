"""Reading and writing plans files, and the key that says what a file of ours was made for."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from nnunet_spine_ext.data.files import read_json_if_there, write_text
from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.paths import nnunet_folder

SPINE_KEY = "spine"
"""Where a plans file says what it was made for. nnU-Net passes over keys that it does not know."""


def read_plans(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the content of a plans file of a preprocessed dataset; None if there is no such file.

    Raises:
        DataError: it is no JSON object.
    """
    return read_json_if_there(folder / f"{name}.json")


def read_dataset(folder: Path) -> dict[str, Any]:
    """Return the content of the dataset.json of a preprocessed dataset or, if it has none, of the raw one.

    Raises:
        SetupError: there is none.
        DataError: it is no JSON object.
    """
    found = read_json_if_there(folder / "dataset.json")
    if found is None:
        raw = nnunet_folder("nnUNet_raw") / folder.name
        found = read_json_if_there(raw / "dataset.json")
        if found is None:
            raise SetupError(f"dataset.json is missing in {folder} and {raw}. Plan the dataset again.")
    return found


def write_plans(content: Mapping[str, Any], file: Path) -> None:
    """Write a plans file, indented as nnU-Net's own are, so that the two can be compared line by line.

    Raises:
        DataError: the file cannot be written.
    """
    write_text(json.dumps(content, indent=4), file)


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
