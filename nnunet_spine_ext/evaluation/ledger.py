"""The cases already measured, kept beside the output so that a killed run goes on where it stopped.

metrics.csv.partial/
.settings.json    what the records below were made with; other settings begin anew
<case>.json       the rows of one case, and size and time of its two files; written whole or not at all
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine_ext.data.files import write_json, writing
from nnunet_spine_ext.evaluation.pairs import Pair
from nnunet_spine_ext.evaluation.rows import Measured

_SETTINGS_FILE = ".settings.json"


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """A folder with one record per case."""

    folder: Path

    @classmethod
    def beside(cls, output: Path, settings: Mapping[str, object]) -> Ledger:
        """Return the ledger of `output`, empty unless a run with the same settings left one.

        Raises:
            DataError: it cannot be written.
        """
        ledger = cls(folder=output.with_name(f"{output.name}.partial"))
        file = ledger.folder / _SETTINGS_FILE
        if not file.is_file() or json.loads(file.read_text(encoding="utf-8")) != _as_read_again(settings):
            ledger.remove()
            with writing(ledger.folder):
                ledger.folder.mkdir(parents=True)
            write_json(dict(settings), file)
        return ledger

    def measured(self, pair: Pair) -> Measured | None:
        """Return what was measured of this pair; None if it was not measured, or one of its files has changed since."""
        file = self._file(pair)
        if not file.is_file():
            return None
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["files"] != _signature(pair):
            return None
        return Measured(
            rows=[(label, metric, value) for label, metric, value in record["rows"]],
            confusion=[(reference, prediction, count) for reference, prediction, count in record["confusion"]],
        )

    def add(self, pair: Pair, measured: Measured) -> None:
        """Keep what was measured of one case."""
        record = {"files": _signature(pair), "rows": measured.rows, "confusion": measured.confusion}
        write_json(record, self._file(pair))

    def remove(self) -> None:
        """Delete the folder: the results are elsewhere now, or of no use."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def _file(self, pair: Pair) -> Path:
        return self.folder / f"{pair.case}.json"


def _as_read_again(settings: Mapping[str, object]) -> object:
    return json.loads(json.dumps(dict(settings)))  # tuples become lists


def _signature(pair: Pair) -> list[list[int]]:
    stats = [file.stat() for file in (pair.prediction, pair.reference)]
    return [[stat.st_size, stat.st_mtime_ns] for stat in stats]
