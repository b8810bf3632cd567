"""Locks on a folder, dropped by the system when their holder ends, however it ends.

Every process that writes into a folder holds the shared lock on it. Whoever can get the exclusive lock for a moment
knows that nobody else writes there. Where the file system has no locks, nothing is locked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class FolderBusyError(Exception):
    """Another process holds the lock."""


def share(folder: Path) -> int:
    """Take the shared lock; return the descriptor that holds it (close it to let go)."""
    descriptor = os.open(folder, os.O_RDONLY)
    _lock(descriptor, fcntl.LOCK_SH)
    return descriptor


def make_and_share(folder: Path, *, patience_s: float) -> int:
    """Make the folder if need be, wait until nobody holds a lock on it, take the shared lock; return its descriptor.

    Raises:
        FolderBusyError: somebody still held it after `patience_s`.
        OSError: the folder cannot be made or opened.
    """
    deadline = time.monotonic() + patience_s
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another run may have removed the folder, and with it what was locked here.
            if os.fstat(descriptor).st_ino == folder.stat().st_ino:
                _lock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise FolderBusyError(str(folder))
        time.sleep(0.1)


def _lock(descriptor: int, kind: int) -> None:
    try:
        fcntl.flock(descriptor, kind)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
