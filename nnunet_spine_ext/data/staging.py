"""The hidden folder in which a dataset grows until it is complete.

    nnUNet_raw/.Dataset501_MRSpineSeg.partial/
        dataset/     becomes nnUNet_raw/Dataset501_MRSpineSeg by one rename at the very end
        records/     one JSON per finished case: from what it was made, checksums of what was written
        scratch/     files being written; moved into dataset/ only when whole

A killed run leaves this folder and nothing else. The next run drops what does not belong, checks what does against the
records, and makes only the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from nnunet_spine_ext.data.files import existing_ancestor, sha256_of, write_json, writing
from nnunet_spine_ext.data.locks import FolderBusyError, make_and_share
from nnunet_spine_ext.errors import DataError

_PATIENCE_S = 10.0
"""How long to wait for the workers of a killed run to end."""


def partial_of(target: Path) -> Path:
    """Return the hidden folder in which `target` grows."""
    return target.with_name(f".{target.name}.partial")


def check_target(target: Path) -> None:
    """Refuse a target that exists or cannot be written.

    Raises:
        DataError: names what stands in the way.
    """
    remedy = "Remove it, or choose another number with -d."
    if os.path.lexists(target):
        # A run killed right after its last rename leaves its empty folder; rmdir removes nothing else.
        with contextlib.suppress(OSError):
            partial_of(target).rmdir()
        raise DataError.of(target, "exists already, and is not overwritten", remedy)
    number = target.name.split("_")[0]
    taken = sorted(target.parent.glob(f"{number}_*"))
    if taken:
        raise DataError.of(taken[0], f"exists already: for nnU-Net only one dataset may be {number}", remedy)
    folder = existing_ancestor(target.parent)
    if not folder.is_dir():
        raise DataError.of(target, f"cannot be made: {folder} is a file", "Choose another folder for the raw datasets.")
    if not os.access(folder, os.W_OK | os.X_OK):
        remedy = "Choose a folder that you may write to (-o or nnUNet_raw), or change its permissions."
        raise DataError.of(target, f"cannot be made: {folder} is read-only for you", remedy)


class Staging:
    """The hidden folder of one target; a context manager that holds its lock.

    Raises:
        DataError: the target cannot be made, or another conversion into it is running.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = partial_of(target)
        self.tree = self.folder / "dataset"
        self.records = self.folder / "records"
        self.scratch = self.folder / "scratch"
        self._lock: int | None = None

    def __enter__(self) -> Staging:
        with writing(self.folder):
            self._lock = self._acquire()
        try:
            with writing(self.folder):
                # The target may have come into being while another run held the lock.
                check_target(self.target)
                shutil.rmtree(self.scratch, ignore_errors=True)
                for folder in (self.tree, self.records, self.scratch):
                    folder.mkdir(exist_ok=True)
        except DataError:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def size_bytes(self) -> int:
        """Return what the folder holds already."""
        return sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file())

    def keep_only(self, files: Collection[str]) -> None:
        """Remove everything of an earlier run that is not among `files` (relative to the dataset)."""
        for path in sorted(self.tree.rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(self.tree).as_posix() not in files:
                path.unlink()

    def discard(self) -> None:
        """Remove the folder and all that it holds."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def finish(self) -> None:
        """Turn the finished tree into the target, all at once."""
        with writing(self.target):
            shutil.rmtree(self.records)
            shutil.rmtree(self.scratch)
            self.tree.rename(self.target)
            self.folder.rmdir()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _acquire(self) -> int:
        try:
            return make_and_share(self.folder, patience_s=_PATIENCE_S)
        except FolderBusyError:
            remedy = "Wait until it has ended, then run the command again."
            raise DataError.of(self.folder, "another conversion is writing here", remedy) from None


def read_record(path: Path, *, made_from: str, tree: Path) -> dict[str, Any] | None:
    """Return the record of a finished case if it still holds: same sources and rules, files as they were written."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        whole = all(sha256_of(tree / entry["file"]) == entry["sha256"] for entry in record["written"].values())
        return record if whole and record["made_from"] == made_from else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_record(path: Path, *, made_from: str, written: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
    """Record a finished case."""
    record: dict[str, Any] = {"made_from": made_from, "written": written}
    write_json(record, path)
    return record
