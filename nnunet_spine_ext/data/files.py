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


def sha256_of(path: Path) -> str:
    """Return the SHA-256 checksum of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_json(content: Any, path: Path) -> None:  # noqa: ANN401
    """Write JSON, readable and always in the same order; a kill leaves either the old file or the new one.

    Raises:
        DataError: the file cannot be written.
    """
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    with writing(path):
        try:
            partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


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
