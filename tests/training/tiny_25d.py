"""The tiny dataset's plans with a configuration `25d`, as `nnunet_spine plan` writes it: patches of several slices."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import NnunetFolders
from tests.training.tiny import NAME, make_plans


def plans_25d(*, slices: int = 4, plane: tuple[int, int] = (32, 32)) -> dict[str, Any]:
    plans = make_plans()
    plans["configurations"]["25d"] = {"inherits_from": "2d", "patch_size": [slices, *plane], "batch_size": 2}
    return plans


def write_plans_25d(folders: NnunetFolders) -> None:
    """Put the configuration beside the preprocessed cases, which it shares with 2d."""
    (folders.preprocessed / NAME / "nnUNetPlans.json").write_text(json.dumps(plans_25d()))
