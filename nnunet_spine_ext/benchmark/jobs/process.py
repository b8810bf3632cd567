"""One attempt at a job: a process that dies with us, its log, and what the log says when it fails."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunet_spine_ext.benchmark.jobs.supervisor import SIGNALLED, start_supervised, stop_supervised
from nnunet_spine_ext.data.files import writing

_ERROR = re.compile(r"^([\w.]*(Error|Exception|Interrupt|Exit)\b|nnunet_spine:)")
_LINES = 5


class JobProcess:
    """A running attempt. The lock on the fold's folder is held by the command, for as long as it lives."""

    def __init__(self, command: Sequence[str], *, log: Path, environment: Mapping[str, str], lock: int) -> None:
        """Start a command.

        Args:
            command: to run.
            log: receives all that it prints, after what is there.
            environment: variables besides those of this process.
            lock: a descriptor that holds a lock; the command inherits it.

        Raises:
            DataError: the log cannot be written.
        """
        self.log = log
        with writing(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            self._from = log.stat().st_size if log.exists() else 0
            with log.open("ab") as stream:
                stream.write(f"\n$ {' '.join(command)}\n".encode())
                stream.flush()
                self._process = start_supervised(command, output=stream, environment=environment, keep_open=(lock,))

    @property
    def pid(self) -> int:
        """Of the supervisor, which leads the process group."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        code = self._process.poll()
        if code is not None:
            stop_supervised(self._process)  # closes the pipe to it
        return code

    def stop(self) -> None:
        """Kill the command and all that it started, and wait until they are gone; nnU-Net goes on from its files."""
        stop_supervised(self._process)

    def why(self, code: int) -> str:
        """Return what is to be said about an attempt that ended with `code`."""
        with self.log.open("rb") as stream:
            stream.seek(self._from)
            said = telling_lines(stream.read().decode("utf-8", errors="replace"))
        if code > SIGNALLED:
            name = signal.Signals(code - SIGNALLED).name if code - SIGNALLED in set(signal.Signals) else str(code)
            hint = "; did the memory run out?" if name == "SIGKILL" else ""
            return f"killed by {name}{hint}"
        return said or f"ended with exit code {code} and said nothing"


def telling_lines(output: str) -> str:
    """Return the end of a log: from the last line that names an error on, or the last few lines."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip() and not line.startswith("$ ")]
    named = [i for i, line in enumerate(lines) if _ERROR.match(line)]
    start = max(named[-1], len(lines) - 20) if named else max(0, len(lines) - _LINES)
    return "\n".join(lines[start : start + 20])
