"""Writes the files of one case: the second pass of a conversion. What an earlier run finished is left as it is."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nnunet_spine_ext
from nnunet_spine_ext.data import n4
from nnunet_spine_ext.data.case_loading import load_image, load_label
from nnunet_spine_ext.data.cases import CaseRules, Reading, UnrepairableError
from nnunet_spine_ext.data.files import gzip_file, sha256_of, writing
from nnunet_spine_ext.data.geometry import flattened, write_image
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
        writers: dict[str, _Writer] = {"image": _write_image, "label": _write_label}
        written = {kind: _place(task, file, writers[kind]) for kind, file in files_of(task.reading).items()}
        record = write_record(path, made_from=task.made_from, written=written)
    return dict(record["written"])


_Writer = Callable[[WriteTask, Path], dict[str, Any]]
"""Writes a file; returns what is worth recording of that."""


def _place(task: WriteTask, file: str, write: _Writer) -> dict[str, object]:
    """Write one file aside, then move it to where it belongs."""
    target, aside = task.tree / file, task.scratch / Path(file).name
    with writing(target):
        try:
            facts = write(task, aside)
            entry = {"file": file, "sha256": sha256_of(aside), "bytes": aside.stat().st_size, **facts}
            target.parent.mkdir(exist_ok=True)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    return entry


def _write_image(task: WriteTask, aside: Path) -> dict[str, Any]:
    reading, source = task.reading, task.reading.case.image
    _refuse_changed(source, reading.image.sha256)
    if reading.image_kept:
        _write_bytes(source, aside, link=task.rules.link)
        return {}
    image = load_image(source, task.rules).image
    image = reading.crop.apply(image) if reading.crop else image
    facts = {}
    if task.rules.n4 is not None:
        try:
            image, done = n4.correct(image, task.rules.n4)
        except UnrepairableError as error:
            raise error.about(source) from error
        facts["n4"] = done.to_json()
    write_image(flattened(image) if reading.image.flat else image, aside)
    return facts


def _write_bytes(source: Path, aside: Path, *, link: bool) -> None:
    """Give `aside` the published bytes, compressed if they are not yet."""
    if not is_gzip(source):
        gzip_file(source, aside)
    elif link:
        _link(source, aside)
    else:
        shutil.copyfile(source, aside)


def _link(source: Path, aside: Path) -> None:
    try:
        os.link(source.resolve(), aside)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        finding = f"cannot be hard-linked ({(error.strerror or str(error)).lower()})"
        raise DataError.of(source, finding, "Convert without --link: files are copied then.") from error


def _write_label(task: WriteTask, aside: Path) -> dict[str, Any]:
    reading, source = task.reading, task.reading.case.label
    assert source is not None
    assert reading.label is not None
    _refuse_changed(source, reading.label.sha256)
    label = task.rules.scheme.apply(load_label(source, task.rules).ids)
    image = reading.image.grid.place(label)
    image = reading.crop.apply(image) if reading.crop else image
    write_image(flattened(image) if reading.image.flat else image, aside)
    return {}


def _refuse_changed(source: Path, sha256: str) -> None:
    if sha256_of(source) != sha256:
        raise DataError.of(source, "has changed while the dataset was being converted", "Run the command again.")
