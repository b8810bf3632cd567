"""Writes the files of one case: the second pass of a conversion. What an earlier run finished is left as it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nnunet_spine_ext
from nnunet_spine_ext.data.case_loading import load_image, load_label
from nnunet_spine_ext.data.cases import CaseRules, Reading
from nnunet_spine_ext.data.files import gzip_file, sha256_of, writing
from nnunet_spine_ext.data.geometry import write_image
from nnunet_spine_ext.data.integrity import is_gzip
from nnunet_spine_ext.data.staging import read_record, write_record
from nnunet_spine_ext.errors import DataError

FILE_ENDING = ".nii.gz"


@dataclass(frozen=True, kw_only=True)
class WriteTask:
    """One case to write, as it is sent to a worker."""

    reading: Reading
    rules: CaseRules
    tree: Path
    records: Path
    scratch: Path

    @property
    def made_from(self) -> str:
        """Checksum of all that decides the written files: sources, rules, version."""
        decides = [self.reading.to_json(), self.rules.to_json(), nnunet_spine_ext.__version__]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def files_of(reading: Reading) -> dict[str, str]:
    """Return `image` and `label` → file of a case, relative to the dataset's folder."""
    case = reading.case
    ending = "Tr" if case.training else "Ts"
    files = {"image": f"images{ending}/{case.case}_0000{FILE_ENDING}"}
    if case.label is not None:
        files["label"] = f"labels{ending}/{case.case}{FILE_ENDING}"
    return files


def write_case(task: WriteTask) -> dict[str, Any]:
    """Write image and label of a case; return `image` and `label` → file, checksum, bytes.

    Raises:
        DataError: a source has changed since it was read, or a file cannot be written.
    """
    path = task.records / f"{task.reading.case.case}.json"
    record = read_record(path, made_from=task.made_from, tree=task.tree)
    if record is None:
        writers: dict[str, Callable[[WriteTask, Path], None]] = {"image": _write_image, "label": _write_label}
        written = {kind: _place(task, file, writers[kind]) for kind, file in files_of(task.reading).items()}
        record = write_record(path, made_from=task.made_from, written=written)
    return dict(record["written"])


def _place(task: WriteTask, file: str, write: Callable[[WriteTask, Path], None]) -> dict[str, object]:
    """Write one file aside, then move it to where it belongs."""
    target, aside = task.tree / file, task.scratch / Path(file).name
    with writing(target):
        try:
            write(task, aside)
            entry = {"file": file, "sha256": sha256_of(aside), "bytes": aside.stat().st_size}
            target.parent.mkdir(exist_ok=True)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    return entry


def _write_image(task: WriteTask, aside: Path) -> None:
    reading, source = task.reading, task.reading.case.image
    _refuse_changed(source, reading.image.sha256)
    if not reading.image_kept:
        image = load_image(source, task.rules).image
        write_image(reading.crop.apply(image) if reading.crop else image, aside)
    elif is_gzip(source):
        shutil.copyfile(source, aside)
    else:
        gzip_file(source, aside)


def _write_label(task: WriteTask, aside: Path) -> None:
    reading, source = task.reading, task.reading.case.label
    assert source is not None
    assert reading.label is not None
    _refuse_changed(source, reading.label.sha256)
    label = task.rules.scheme.apply(load_label(source, task.rules).ids)
    image = reading.image.grid.place(label)
    write_image(reading.crop.apply(image) if reading.crop else image, aside)


def _refuse_changed(source: Path, sha256: str) -> None:
    if sha256_of(source) != sha256:
        raise DataError.of(source, "has changed while the dataset was being converted", "Run the command again.")
