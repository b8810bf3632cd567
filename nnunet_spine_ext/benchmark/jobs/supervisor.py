"""Runs a command so that nothing of it outlives whoever asked for it: `python -m …jobs.supervisor COMMAND…`.

The supervisor leads a process group of its own. Its standard input is a pipe from the asker: when that ends, the asker
is gone, however it went, and the whole group, nnU-Net's worker processes included, is killed. Workers that a command
leaves behind are ended, too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO

SIGNALLED = 128
"""A command that was killed by signal n ends with exit code 128 + n, as in a shell."""


def start_supervised(
    command: Sequence[str], *, output: IO[bytes], environment: Mapping[str, str], keep_open: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start a command under a supervisor of its own; end it with `stop_supervised`.

    Args:
        command: to run.
        output: receives all that it prints.
        environment: variables besides those of this process.
        keep_open: descriptors that the command inherits; a lock that one of them holds lasts as long as the command.
    """
    return subprocess.Popen(
        [sys.executable, "-m", __name__, *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        start_new_session=True,
        pass_fds=keep_open,
    )


def stop_supervised(process: subprocess.Popen[bytes]) -> None:
    """Kill the command and all that it started, unless it has ended, and wait until they are gone; close the pipe."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def supervise(command: Sequence[str]) -> int:
    """Run a command to its end and return its exit code."""
    # Descriptors that the asker handed over hold locks, which belong to whoever works: the command inherits them.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)
    threading.Thread(target=_end_with_the_asker, daemon=True).start()
    code = child.wait()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(os.getpgrp(), signal.SIGTERM)
    return code if code >= 0 else SIGNALLED - code


def _end_with_the_asker() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:]))
