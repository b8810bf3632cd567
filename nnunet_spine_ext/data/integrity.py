"""Is a file whole and are its numbers numbers? ITK does not say, neither reading nor writing.

It reads a cut-off NIfTI file without an error and leaves the missing voxels empty; it reads NaN and infinity as 0; and
on a full disk it writes what fits and returns as if all were well. So files are looked through here, once, as a stream.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from nnunet_spine_ext.data import metaimage

GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 20
_HEADER_BYTES = 540
"""Long enough for NIfTI-1 (348) and NIfTI-2 (540)."""
_FLOATS = {16: "f4", 64: "f8"}
"""NIfTI's data types whose voxels can be NaN."""
_AGAIN = "Download or copy the file again."


@dataclass(frozen=True, kw_only=True)
class _Promise:
    """What the header of a single-file NIfTI says about the bytes that follow."""

    bytes: int
    offset: int
    dtype: np.dtype[np.floating] | None
    """Of the voxels, if they are floating-point numbers."""


def is_gzip(path: Path) -> bool:
    """Tell by the first bytes, not by the name, whether a file is gzip-compressed."""
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


def defect(path: Path) -> tuple[str, str] | None:
    """Return what is wrong with the bytes of a file and what to do about it; None if nothing is.

    A gzip stream must end with a right checksum; a NIfTI file (NIfTI-1 or NIfTI-2, compressed or not) must hold as many
    bytes as its header promises, none of them NaN or infinity; a MetaImage file (.mha) likewise, but for NaN, which ITK
    reads as it is. Of other formats only the gzip stream is checked.

    Raises:
        OSError: the file cannot be opened.
    """
    if path.suffix.lower() == metaimage.ENDING:
        return metaimage.metaimage_defect(path)
    compressed = is_gzip(path)
    try:
        with path.open("rb") as file:
            return _look_through(cast("BinaryIO", gzip.GzipFile(fileobj=file)) if compressed else file)
    except EOFError:
        return "is cut off: its compressed data ends too early", _AGAIN
    except (gzip.BadGzipFile, zlib.error) as error:
        return f"is damaged: {error}", _AGAIN


def _look_through(stream: BinaryIO) -> tuple[str, str] | None:
    header = stream.read(_HEADER_BYTES)
    if not header:
        return "is empty", _AGAIN
    promise = _promise(header)
    held, strange = len(header), 0
    pending = header[promise.offset :] if promise else b""
    while chunk := stream.read(_CHUNK_BYTES):
        held += len(chunk)
        if promise is not None and promise.dtype is not None:
            pending += chunk
            whole = len(pending) // promise.dtype.itemsize * promise.dtype.itemsize
            strange += int(np.count_nonzero(~np.isfinite(np.frombuffer(pending[:whole], promise.dtype))))
            pending = pending[whole:]
    if promise is not None and held < promise.bytes:
        return f"is cut off: it holds {held} of the {promise.bytes} bytes that its header promises", _AGAIN
    if strange:
        remedy = "Replace them with values that make sense, or leave the case out (ITK would read them as 0)."
        return f"holds {strange} voxels that are NaN or infinite", remedy
    return None


def _promise(header: bytes) -> _Promise | None:
    """Return what a NIfTI header promises; None if this is no single-file NIfTI, or nonsense (then ITK judges it)."""
    if len(header) < 348:
        return None
    for order in "<>":
        (size,) = struct.unpack_from(f"{order}i", header)
        if size == 348 and header[344:347] == b"n+1":
            dim = struct.unpack_from(f"{order}8h", header, 40)
            kind, bits = struct.unpack_from(f"{order}2h", header, 70)
            (offset,) = struct.unpack_from(f"{order}f", header, 108)
        elif size == 540 and header[4:7] == b"n+2" and len(header) == _HEADER_BYTES:
            dim = struct.unpack_from(f"{order}8q", header, 16)
            kind, bits = struct.unpack_from(f"{order}2h", header, 12)
            (offset,) = struct.unpack_from(f"{order}q", header, 168)
        else:
            continue
        sizes = dim[1 : dim[0] + 1]
        if not (1 <= dim[0] <= 7 and min(sizes) > 0 and bits > 0 and math.isfinite(offset) and offset >= size):
            return None
        dtype = np.dtype(order + _FLOATS[kind]) if kind in _FLOATS else None
        return _Promise(bytes=int(offset) + math.prod(sizes) * bits // 8, offset=int(offset), dtype=dtype)
    return None
