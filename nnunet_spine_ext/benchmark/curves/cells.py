"""The points of a curve, kept one by one, so that a killed run goes on where it stopped.

<folder>/<place>/…/<last>.<digest>.csv   rows of one cell, the last columns of the table; written whole or not at all
<folder>/.scratch.<pid>/                 images and predictions of the cell at work; removed

The digest says what a cell was made of (weights, cases, settings): a model trained anew gets new cells, and the old
ones of the same place go. The joined table is written from the cells, in an order that has nothing to do with the order
in which they were made.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine_ext.data.files import make_folder, sha256_of, whole_file, writing
from nnunet_spine_ext.data.locks import FolderBusyError, make_and_share
from nnunet_spine_ext.errors import SetupError

_SCRATCH = ".scratch."
_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is measured at once, and kept or lost as a whole."""

    place: tuple[str, ...]
    """Folders below the store's; the last is the file's name."""
    digest: str


@dataclass(frozen=True, kw_only=True)
class CellStore:
    """A folder of cells, of which one run at a time has hold."""

    folder: Path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out, and remove what killed ones left behind.

        Raises:
            SetupError: another run works in it.
            DataError: the folder cannot be written.
        """
        try:
            with writing(self.folder):
                lock = make_and_share(self.folder, patience_s=2)
        except FolderBusyError as error:
            raise SetupError(f"Another run works in {self.folder}. Wait for it to end, or end it.") from error
        try:
            for left in self.folder.glob(f"{_SCRATCH}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield an empty folder, removed at the end."""
        folder = self.folder / f"{_SCRATCH}{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        with writing(folder):
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def file(self, cell: Cell) -> Path:
        """Return where a cell lies, or will lie."""
        return self.folder.joinpath(*cell.place[:-1]) / f"{cell.place[-1]}.{cell.digest}.csv"

    def has(self, cell: Cell) -> bool:
        """Return whether a cell was measured."""
        return self.file(cell).is_file()

    def rows(self, cell: Cell) -> list[list[str]]:
        """Return the rows of a measured cell."""
        with self.file(cell).open(encoding="utf-8", newline="") as stream:
            return list(csv.reader(stream))

    def add(self, cell: Cell, rows: Sequence[Sequence[str]]) -> None:
        """Keep the rows of a cell; earlier ones of the same place, made of something else, go.

        Raises:
            DataError: it cannot be written.
        """
        file = self.file(cell)
        make_folder(file.parent)
        with whole_file(file) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)
        for other in file.parent.glob(f"{cell.place[-1]}.*.csv"):
            if other != file and len(other.name) == len(file.name):
                other.unlink()

    def join(self, output: Path, columns: Sequence[str], cells: Sequence[tuple[Sequence[object], Cell]]) -> Path:
        """Write the table of all measured cells; others are passed over.

        Args:
            output: the CSV file.
            columns: of the table.
            cells: what stands before each row of a cell, and the cell.

        Raises:
            DataError: it cannot be written.
        """
        with whole_file(output) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
            stream.write(_line(columns))
            for prefix, cell in cells:
                if self.has(cell):
                    head = _line(prefix).rstrip("\n") + ","
                    with self.file(cell).open(encoding="utf-8", newline="") as rows:
                        stream.writelines(head + row for row in rows)
        return output


def digest_of(*facts: object) -> str:
    """Return the checksum of facts that JSON can tell apart."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:_DIGITS]


def checkpoint_digest(file: Path) -> str:
    """Return a checksum of a checkpoint's content.

    torch writes zip archives, whose directory holds the CRC-32 of every tensor: it is read in no time, and stays the
    same when the file is copied.
    """
    if not zipfile.is_zipfile(file):
        return sha256_of(file)
    with zipfile.ZipFile(file) as archive:
        entries = [[info.filename, info.file_size, info.CRC] for info in archive.infolist()]
    return digest_of(entries)


def _line(values: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
