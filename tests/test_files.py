"""Small file work: sizes in words, JSON that is whole or not there, gzip without a clock, errors with a remedy."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
from pathlib import Path

import pytest

from nnunet_spine_ext.data import files
from nnunet_spine_ext.errors import DataError


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 KB"), (3.2e9, "3.2 GB"), (5e12, "5.0 TB"), (4e15, "4000.0 TB")],
)
def test_sizes_in_words(size: float, words: str) -> None:
    assert files.in_words(size) == words


def test_gzip_knows_neither_name_nor_time(tmp_path: Path) -> None:
    results = []
    for name, seconds in (("a.nii", 0), ("b.nii", 10**9)):
        (tmp_path / name).write_bytes(b"voxels" * 1000)
        os.utime(tmp_path / name, (seconds, seconds))
        files.gzip_file(tmp_path / name, tmp_path / f"{name}.gz")
        results.append((tmp_path / f"{name}.gz").read_bytes())
    assert results[0] == results[1]
    assert gzip.decompress(results[0]) == b"voxels" * 1000


def test_checksum_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 9000)
    assert files.sha256_of(tmp_path / "file") == hashlib.sha256(bytes(range(256)) * 9000).hexdigest()


def test_json_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    files.write_json({"Belavý": [1, 2]}, path)
    assert json.loads(path.read_text(encoding="utf-8")) == {"Belavý": [1, 2]}
    with pytest.raises(TypeError):
        files.write_json({"no JSON": object()}, path)
    assert json.loads(path.read_text(encoding="utf-8")) == {"Belavý": [1, 2]}
    assert [p.name for p in tmp_path.iterdir()] == ["log.json"]


@pytest.mark.parametrize(("content", "found"), [('{"a": ', "is no JSON"), ("[1]", "is no JSON object")])
def test_json_that_cannot_be_read_is_a_finding(tmp_path: Path, content: str, found: str) -> None:
    path = tmp_path / "log.json"
    assert files.read_json_if_there(path) is None
    with pytest.raises(DataError, match=r"log\.json: no such file"):
        files.read_json(path)
    path.write_text(content)
    for read in (files.read_json, files.read_json_if_there):
        with pytest.raises(DataError, match=rf"log\.json: {found}.* Mend it"):
            read(path)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        files.read_json(tmp_path)
    files.write_json({"Belavý": [1, 2]}, path)
    assert files.read_json(path) == files.read_json_if_there(path) == {"Belavý": [1, 2]}


def test_a_whole_file_appears_at_the_end_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with files.whole_file(path) as partial:
        assert partial.parent == tmp_path
        assert partial.name.endswith("table.csv")
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(ValueError, match="interrupted"), files.whole_file(path) as partial:
        partial.write_text("half")
        raise ValueError("interrupted")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_a_whole_file_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent/table\.csv: cannot be written: no such file or directory"):
        files.write_text("new", tmp_path / "absent" / "table.csv")


def test_checksum_of_a_folder_is_that_of_its_files_and_their_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(b"one")
        (tmp_path / name / "2.dcm").write_bytes(b"two")
    before = files.sha256_of(tmp_path / "a")
    assert files.sha256_of(tmp_path / "b") == before
    assert files.size_of(tmp_path / "a") == 6
    (tmp_path / "b/2.dcm").rename(tmp_path / "b/3.dcm")
    assert files.sha256_of(tmp_path / "b") != before
    (tmp_path / "a/2.dcm").write_bytes(b"owt")
    assert files.sha256_of(tmp_path / "a") != before


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "Your quota is used up"),
        (errno.EROFS, "mounted for writing"),
        (errno.EACCES, "that you may write to"),
        (errno.EIO, "Check the disk"),
    ],
)
def test_failed_writes_say_what_to_do(number: int, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught, files.writing(tmp_path / "image.nii.gz"):
        raise OSError(number, os.strerror(number))
    (finding,) = caught.value.findings
    assert finding.file == tmp_path / "image.nii.gz"
    assert finding.finding == f"cannot be written: {os.strerror(number).lower()}"
    assert remedy in finding.remedy


def test_nearest_existing_folder(tmp_path: Path) -> None:
    assert files.existing_ancestor(tmp_path / "a" / "b") == tmp_path
    (tmp_path / "file").touch()
    assert files.existing_ancestor(tmp_path / "file" / "below") == tmp_path / "file"
    assert files.free_bytes(tmp_path / "a" / "b") > 0
