"""The progress of running jobs on the terminal: a table that redraws itself, or plain lines in a file."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

from nnunet_spine_ext.benchmark.jobs.local_queue import LocalQueue, Ticket
from nnunet_spine_ext.benchmark.jobs.progress import read_progress
from nnunet_spine_ext.benchmark.jobs.state import State, state_of
from nnunet_spine_ext.benchmark.jobs.status import in_words

_UP_AND_CLEAR = "\x1b[{}F\x1b[J"


@dataclass(kw_only=True)
class Live:
    """Shows a queue; call it after every look.

    Attributes:
        stream: where to.
        redraw: whether the stream is a terminal, whose lines can be written over.
        every_s: least time between two drawings; of plain lines, ten times that for lines that only count on.
        clock: seconds that never jump.
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    redraw: bool | None = None
    every_s: float = 3.0
    clock: Callable[[], float] = time.monotonic
    _last_s: float = field(default=-1e9, init=False)
    _drawn: int = field(default=0, init=False)
    _said: dict[str, tuple[str, float]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.redraw is None:
            self.redraw = self.stream.isatty()

    def __call__(self, queue: LocalQueue) -> None:
        """Draw what has changed."""
        ended = not (queue.running or queue.waiting)
        if self.clock() - self._last_s < self.every_s and not ended:
            return
        self._last_s = self.clock()
        self._say_news(queue)
        if self.redraw:
            lines = [] if ended else [_sum(queue), *(f"  {_line(ticket)}" for ticket in queue.running)]
            self._draw(lines)

    def _say_news(self, queue: LocalQueue) -> None:
        """Print, once each, what stays true: jobs begun, done and failed; without a terminal, progress as well."""
        for ticket in (*queue.done, *queue.failed, *queue.waiting):
            if ticket.note:
                verb = "" if ticket in queue.done else "failed: " if ticket in queue.failed else "waits: "
                self._say_once(ticket, f"{verb}{ticket.note}")
        if not self.redraw:
            for ticket in queue.running:
                self._say_now_and_then(ticket)

    def _say_once(self, ticket: Ticket, news: str) -> None:
        if self._said.get(ticket.job.name, ("", 0.0))[0] != news:
            self._said[ticket.job.name] = (news, self.clock())
            self._draw([])
            print(f"{ticket.job}: {news}", file=self.stream, flush=True)

    def _say_now_and_then(self, ticket: Ticket) -> None:
        before, when = self._said.get(ticket.job.name, ("", -1e9))
        line = _line(ticket)
        if line != before and self.clock() - when >= 10 * self.every_s:
            self._said[ticket.job.name] = (line, self.clock())
            print(line, file=self.stream, flush=True)

    def _draw(self, lines: list[str]) -> None:
        width = shutil.get_terminal_size().columns - 1
        clear = _UP_AND_CLEAR.format(self._drawn) if self._drawn else ""
        self.stream.write(clear + "".join(f"{line[:width]}\n" for line in lines))
        self.stream.flush()
        self._drawn = len(lines)


def _sum(queue: LocalQueue) -> str:
    counts = {"done": queue.done, "running": queue.running, "waiting": queue.waiting, "failed": queue.failed}
    return ", ".join(f"{len(tickets)} {word}" for word, tickets in counts.items() if tickets)


def _line(ticket: Ticket) -> str:
    """Return where a running job is: epoch, pseudo Dice, time left."""
    fold = ticket.job.folder
    progress = read_progress(fold)
    if state_of(fold) is State.VALIDATE:
        return f"{ticket.job}: validating, case {progress.validated}"
    parts = [f"epoch {progress.epoch}" + (f" of {progress.epochs}" if progress.epochs else "")]
    if progress.dice is not None:
        parts.append(f"pseudo Dice {progress.dice:.3f}")
    if progress.seconds_left is not None:
        parts.append(f"{in_words(progress.seconds_left)} left")
    return f"{ticket.job}: {', '.join(parts)}"
