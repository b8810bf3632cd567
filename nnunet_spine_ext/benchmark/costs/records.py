"""What was measured before: a JSON file per model beside costs.csv, so that nothing is measured twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nnunet_spine_ext.data.files import read_json_if_there, write_json

FOLDER = "costs"


class CostRecords:
    """The measurements of one model, kept in `costs/<model folder>.json`."""

    def __init__(self, folder: Path, model: str) -> None:
        """Take the folder that costs.csv is in and nnU-Net's name of the model's folder."""
        self._file = folder / FOLDER / f"{model}.json"

    def kept_or(
        self, kind: str, key: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]] | None
    ) -> dict[str, Any] | None:
        """Return a measurement: the kept one if it was made under the same key, else a new one, which is kept.

        Args:
            kind: "training" or "inference".
            key: all that decides the figures: model, device, versions, how long was measured.
            measure: makes the measurement; None makes none, and takes what is kept under whatever key.
        """
        everything = self._read()
        kept = everything.get(kind)
        if kept is not None and (measure is None or kept["key"] == _as_json(key)):
            return dict(kept["measured"])
        if measure is None:
            return None
        measured: dict[str, Any] = _as_json(measure())
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_json({**everything, kind: {"key": key, "measured": measured}}, self._file)
        return measured

    def _read(self) -> dict[str, Any]:
        return read_json_if_there(self._file) or {}


def _as_json(value: Mapping[str, Any]) -> Any:  # noqa: ANN401  (what JSON makes of it: lists for tuples)
    return json.loads(json.dumps(value))
