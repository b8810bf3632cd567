"""Read from a plans file (JSON) what a network is built from, without importing nnU-Net."""

from __future__ import annotations

import json
import pydoc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine_ext.errors import PlanError, SetupError


@dataclass(frozen=True, kw_only=True)
class PlannedInput:
    """What a configuration of a plans file says about network and input."""

    architecture: Mapping[str, Any]
    """Classes instead of dotted paths. Without the network's own options: they belong to the network that it names."""
    patch_size: tuple[int, ...]
    input_channels: int
    num_classes: int


def read_planned_input(dataset: Path, *, plans: str, configuration: str) -> PlannedInput:
    """Read one configuration of a preprocessed dataset.

    Args:
        dataset: the folder nnUNet_preprocessed/DatasetXXX_Name.
        plans: name of the plans, for example nnUNetPlans.
        configuration: 2d, 3d_fullres …

    Raises:
        SetupError: no such plans, or no dataset.json.
        PlanError: no such configuration, or a class that cannot be imported.
    """
    content = _read(dataset / f"{plans}.json", remedy="Plan the dataset first: nnunet_spine plan")
    facts = _read(dataset / "dataset.json", remedy="Preprocess the dataset first")
    chosen = _configuration(content["configurations"], configuration, plans=plans)
    architecture = dict(chosen["architecture"]["arch_kwargs"])
    architecture.pop("options", None)
    for word in chosen["architecture"]["_kw_requires_import"]:
        architecture[word] = _imported(architecture[word], word=word)
    return PlannedInput(
        architecture=architecture,
        patch_size=tuple(chosen["patch_size"]),
        input_channels=len(facts.get("channel_names") or facts["modality"]),
        num_classes=_classes(facts["labels"]),
    )


def _configuration(configurations: Mapping[str, Any], name: str, *, plans: str) -> dict[str, Any]:
    """Return a configuration with what it inherits filled in."""
    if name not in configurations:
        raise PlanError(f"{plans} has no configuration {name!r}; it has {', '.join(configurations)}.")
    own: dict[str, Any] = configurations[name]
    parent = own.get("inherits_from")
    return {**_configuration(configurations, parent, plans=plans), **own} if parent else own


def _classes(labels: Mapping[str, int | list[int]]) -> int:
    """Return the number of logits: classes with the background, or regions without it; never the ignore label."""
    kept = {name: value for name, value in labels.items() if name != "ignore"}
    has_regions = any(isinstance(value, list) and len(value) > 1 for value in kept.values())
    return len(kept) - 1 if has_regions else len(kept)


def _imported(path: str | None, *, word: str) -> Any:  # noqa: ANN401 (a class of torch)
    if path is None:
        return None
    found = pydoc.locate(path)
    if found is None:
        raise PlanError(f"The plan's {word} is {path!r}, which cannot be imported. Plan the dataset again.")
    return found


def _read(path: Path, *, remedy: str) -> dict[str, Any]:
    if not path.is_file():
        raise SetupError(f"{path} does not exist. {remedy}.")
    content: dict[str, Any] = json.loads(path.read_text())
    return content
