"""Read from a plans file (JSON) what a network is built from, without importing nnU-Net."""

from __future__ import annotations

import pydoc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine_ext.data.files import read_json, read_json_if_there
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
        DataError: one of the two is no JSON object.
        PlanError: no such configuration, or a class that cannot be imported.
    """
    content = _read(dataset / f"{plans}.json", remedy="Plan the dataset first: nnunet_spine plan")
    facts = _read(dataset / "dataset.json", remedy="Preprocess the dataset first")
    chosen = resolved_configuration(content["configurations"], configuration, plans=plans)
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


def ancestry(configurations: Mapping[str, Any], name: str, *, plans: str) -> list[str]:
    """Return the names of a configuration and of those that it inherits from, itself first.

    Args:
        configurations: of a plans file.
        name: of one of them.
        plans: what to call the file in an error.

    Raises:
        PlanError: one of them is not there, or they inherit from each other in a circle.
    """
    names: list[str] = []
    following: str | None = name
    while following:
        if following not in configurations:
            heir = f", from which {names[-1]!r} inherits" if names else ""
            raise PlanError(f"{plans} has no configuration {following!r}{heir}; it has {', '.join(configurations)}.")
        if following in names:
            circle = " → ".join([*names, following])
            raise PlanError(f"{plans}: configurations inherit in a circle: {circle}. Plan the dataset again.")
        names.append(following)
        following = configurations[following].get("inherits_from")
    return names


def resolved_configuration(configurations: Mapping[str, Any], name: str, *, plans: str) -> dict[str, Any]:
    """Return a configuration with what it inherits filled in, as nnU-Net does; see `ancestry`."""
    names = ancestry(configurations, name, plans=plans)
    return {key: value for one in reversed(names) for key, value in configurations[one].items()}


def previous_stage(plans: Path, configuration: str) -> str | None:
    """Return the configuration whose label maps a cascade takes as input; None if it is no cascade.

    Args:
        plans: a plans file.
        configuration: one of its configurations.

    Raises:
        DataError: the file is absent or no JSON object.
        PlanError: as for `ancestry`.
    """
    configurations = read_json(plans).get("configurations", {})
    found = resolved_configuration(configurations, configuration, plans=str(plans)).get("previous_stage")
    return None if found is None else str(found)


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
    content = read_json_if_there(path)
    if content is None:
        raise SetupError(f"{path} does not exist. {remedy}.")
    return content
