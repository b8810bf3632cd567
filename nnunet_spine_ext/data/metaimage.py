"""Is a MetaImage file (.mha) whole? ITK reads damaged compressed voxels without an error, and leaves the rest empty.

Header lines `Key = value` in plain text, `ElementDataFile = LOCAL` the last of them, then the voxels, as they are or as
one zlib stream, which ends with a checksum.
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

ENDING = ".mha"
_CHUNK_BYTES = 1 << 20
_HEADER_BYTES = 1 << 16
"""No header is longer."""
_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}  # fmt: skip
"""Element types whose size is the same everywhere; others are left to ITK."""
_ANY_STREAM = 47
"""For zlib: 15 bits of window, and find out whether it is a zlib or a gzip stream, as ITK does."""
_LAST_LINE = re.compile(rb"^ElementDataFile *=.*\n", re.MULTILINE)
_AGAIN = "Download or copy the file again."


@dataclass(frozen=True, kw_only=True)
class _Promise:
    """What a header says about the bytes that follow it."""

    offset: int
    bytes: int
    """Of the voxels, decompressed."""
    compressed: bool


def metaimage_defect(path: Path) -> tuple[str, str] | None:
    """Return what is wrong with the bytes of a .mha file and what to do about it; None if nothing is.

    Headers that make no sense are left to ITK, which refuses them.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        if not header:
            return "is empty", _AGAIN
        if header.startswith(b"ObjectType") and not _LAST_LINE.search(header) and len(header) < _HEADER_BYTES:
            return "is cut off: it ends within its header", _AGAIN
        promise = _promise(header)
        if promise is None:
            return None
        file.seek(promise.offset)
        return _compressed_defect(file, promise) if promise.compressed else _plain_defect(path, promise)


def _promise(header: bytes) -> _Promise | None:
    entries: dict[str, str] = {}
    offset = 0
    for line in header.splitlines(keepends=True):
        offset += len(line)
        key, _, value = line.decode("latin-1").partition("=")
        entries[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    try:
        sizes = [int(n) for n in entries["DimSize"].split()]
        channels = int(entries.get("ElementNumberOfChannels", "1"))
        voxel_bytes = _BYTES[entries["ElementType"]] * channels
        plain = entries["ElementDataFile"] == "LOCAL" and entries.get("BinaryData", "False").lower() == "true"
    except (KeyError, ValueError):
        return None
    if not plain or "HeaderSize" in entries or channels < 1 or not sizes or min(sizes) < 1:
        return None
    compressed = entries.get("CompressedData", "False").lower() == "true"
    return _Promise(offset=offset, bytes=math.prod(sizes) * voxel_bytes, compressed=compressed)


def _plain_defect(path: Path, promise: _Promise) -> tuple[str, str] | None:
    held = path.stat().st_size - promise.offset
    if held >= promise.bytes:
        return None
    return f"is cut off: it holds {held} of the {promise.bytes} bytes of voxels that its header promises", _AGAIN


def _compressed_defect(file: BinaryIO, promise: _Promise) -> tuple[str, str] | None:
    stream, held = zlib.decompressobj(_ANY_STREAM), 0
    try:
        while not stream.eof and (chunk := file.read(_CHUNK_BYTES)):
            held += len(stream.decompress(chunk))
    except zlib.error as error:
        return f"is damaged: {error}", _AGAIN
    if not stream.eof:
        return "is cut off: its compressed data ends too early", _AGAIN
    if held < promise.bytes:
        return f"is damaged: it holds {held} of the {promise.bytes} bytes of voxels that its header promises", _AGAIN
    return None
