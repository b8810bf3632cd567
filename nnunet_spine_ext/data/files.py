"""Small file work with clear errors: checksums, JSON, deterministic gzip, free space, what a failed write means."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnunet_spine_ext.errors import DataError

_CHUNK_BYTES = 1 << 20
_REMEDIES = {
    errno.ENOSPC: "Free some space on that disk, or choose another folder, and run the command again.",
    errno.EDQUOT: "Your quota is used up: free some space, or choose another folder, and run the command again.",
    errno.EROFS: "Choose a folder on a disk that is mounted for writing.",
    errno.EACCES: "Choose a folder that you may write to, or change its permissions.",
    errno.EPERM: "Choose a folder that you may write to, or change its permissions.",
    errno.ENOTDIR: "A part of this path is a file: choose another folder.",
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write into an error that names the file, what happened, and what to do.

    Raises:
        DataError: no space, no permission, a read-only disk, or another failure of the system.
    """
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.filename and Path(error.filename) != path:
            reason += f" ({error.filename})"
        remedy = _REMEDIES.get(error.errno or 0, "Check the disk and the folder, then run the command again.")
        raise DataError.of(path, f"cannot be written: {reason}", remedy) from error


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it; one that is there stays as it is.

    Raises:
        DataError: it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; rename it to `path` at the end.

    A kill leaves either the old file or the new one at `path`, never half of it. The name keeps the file's ending, by
    which many writers choose their format. If the block raises, what it wrote is removed and `path` is as it was.

    Raises:
        DataError: the file cannot be written.
    """
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    with writing(path):
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 checksum of a file, as hexadecimal digits; of a folder, that of its files' names and bytes."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.iterdir() if p.is_file()):
            digest.update(f"{file.name} {sha256_of(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of the files in a folder."""
    files = [p for p in path.iterdir() if p.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def read_json_value(path: Path) -> Any:  # noqa: ANN401
    """Return what a JSON file holds.

    Raises:
        DataError: the file is absent or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError.of(path, "no such file", "Check the folder.") from error
    except OSError as error:
        raise DataError.of(
            path, f"cannot be read: {error.strerror or error}", "Check the file and the disk."
        ) from error
    except ValueError as error:
        raise DataError.of(path, f"is no JSON ({error})", "Mend it, or write it anew.") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        DataError: the file is absent or no JSON object.
    """
    content = read_json_value(path)
    if not isinstance(content, dict):
        raise DataError.of(path, "is no JSON object", "Mend it, or write it anew.")
    return content


def read_json_if_there(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None if there is no such file.

    Raises:
        DataError: the file is no JSON object.
    """
    return read_json(path) if path.is_file() else None


def write_json(content: Any, path: Path) -> None:  # noqa: ANN401
    """Write JSON, readable and always in the same order; a kill leaves either the old file or the new one.

    Raises:
        DataError: the file cannot be written.
    """
    write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", path)


def write_text(content: str, path: Path) -> None:
    """Write a text file in UTF-8; a kill leaves either the old file or the new one.

    Raises:
        DataError: the file cannot be written.
    """
    with whole_file(path) as partial:
        partial.write_text(content, encoding="utf-8")


def gzip_file(source: Path, target: Path) -> None:
    """Compress `source` to `target`; the same bytes in give the same bytes out (no name, no time in the stream)."""
    with (
        source.open("rb") as file,
        target.open("wb") as out,
        gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=6, mtime=0) as stream,
    ):
        shutil.copyfileobj(file, stream, _CHUNK_BYTES)


def existing_ancestor(path: Path) -> Path:
    """Return `path` or the nearest folder above it that exists."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())


def free_bytes(path: Path) -> int:
    """Return the free space of the disk that holds `path`, or will hold it."""
    return shutil.disk_usage(existing_ancestor(path)).free


def in_words(size_bytes: float) -> str:
    """Return a size for people: `3.2 GB`."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} bytes" if unit == "bytes" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"
