"""What nnU-Net's files cannot tell about a job: that it runs, and where; that it failed, and why.

One small file per job, `<comparison>/jobs/<job>.json`. Nothing is decided by it: what is left to do is read from
nnU-Net's files alone.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from nnunet_spine_ext.data.files import write_json

FOLDER = "jobs"


@dataclass(frozen=True, kw_only=True)
class Record:
    """The last that was heard of a job."""

    event: str
    """started, ended or failed."""
    time_s: float
    """Since the epoch."""
    host: str
    pid: int
    """Of the process that trains, on `host`."""
    message: str = ""
    """Of a failure: the last lines of its log that say something."""


def read_record(comparison: Path, job: str) -> Record | None:
    """Return what was heard of a job; None if nothing was."""
    try:
        return Record(**json.loads((comparison / FOLDER / f"{job}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_record(comparison: Path, job: str, *, event: str, pid: int, message: str = "") -> None:
    """Keep what happened to a job, on this machine, now."""
    record = Record(event=event, time_s=time.time(), host=socket.gethostname(), pid=pid, message=message)
    (comparison / FOLDER).mkdir(parents=True, exist_ok=True)
    write_json(asdict(record), comparison / FOLDER / f"{job}.json")


def is_running(record: Record | None, *, silent_since_s: float | None, patience_s: float = 3600) -> bool:
    """Return whether a job runs: its process lives, or, on another machine, wrote something not long ago.

    Args:
        record: of the job.
        silent_since_s: how long ago the job's files last changed; None if there are none.
        patience_s: how long a job of another machine may be silent (an epoch can take minutes).
    """
    if record is None or record.event != "started":
        return False
    if record.host == socket.gethostname():
        return _lives(record.pid)
    since_start = time.time() - record.time_s
    return min(since_start, since_start if silent_since_s is None else silent_since_s) < patience_s


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
