"""Runs jobs on this machine: one per GPU, or several on a CPU, until each is done or has failed.

A failed job never stops the others. What a job needs is read from nnU-Net's files each time it starts, so the queue has
no memory of its own that a kill could destroy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine_ext.benchmark.jobs.job import Job
from nnunet_spine_ext.benchmark.jobs.process import JobProcess
from nnunet_spine_ext.benchmark.jobs.retry import Attempts
from nnunet_spine_ext.benchmark.jobs.state import State, set_aside_cut_files, state_of, take_newest_checkpoint
from nnunet_spine_ext.benchmark.records import write_record
from nnunet_spine_ext.data.locks import FolderBusyError, make_and_share

GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"

Command = Callable[[Job, State], Sequence[str]]
"""Returns what runs the rest of a job."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place for one job at a time."""

    gpu: str | None = None
    """The GPU's index or name; None leaves the choice to whoever started us."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that bind a job to this place."""
        return {} if self.gpu is None else {GPU_VARIABLE: self.gpu}


@dataclass(kw_only=True)
class Ticket:
    """A job in the queue."""

    job: Job
    attempts: Attempts
    not_before_s: float = 0.0
    process: JobProcess | None = None
    place: int | None = None
    """Which of the slots it has."""
    note: str = ""
    """Why it waits, or how it ended."""


@dataclass(kw_only=True)
class LocalQueue:
    """The jobs of a comparison, and the places where they run.

    Attributes:
        folder: of the comparison, for logs and records.
        jobs: in the order in which they are begun.
        slots: how many run at once, and on which GPU.
        command: returns what runs the rest of a job.
        environment: returns the variables of a job.
        attempts: makes the rule for trying again.
        clock: seconds that never jump.
        sleep: waits so many seconds between two looks.
        watch: called after every look.
    """

    folder: Path
    jobs: Sequence[Job]
    slots: Sequence[Slot]
    command: Command
    environment: Callable[[Job], Mapping[str, str]] = lambda _: {}
    attempts: Callable[[], Attempts] = Attempts
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    watch: Callable[[LocalQueue], None] = lambda _: None
    waiting: list[Ticket] = field(default_factory=list, init=False)
    running: list[Ticket] = field(default_factory=list, init=False)
    done: list[Ticket] = field(default_factory=list, init=False)
    failed: list[Ticket] = field(default_factory=list, init=False)

    def run(self) -> None:
        """Run until every job is in `done` or `failed`; an exception, Ctrl-C included, kills the running ones."""
        for job in self.jobs:
            ticket = Ticket(job=job, attempts=self.attempts())
            (self.done if state_of(job.folder) is State.DONE else self.waiting).append(ticket)
        try:
            while self.waiting or self.running:
                for ticket in list(self.running):
                    self._look_after(ticket)
                self._fill_slots()
                self.watch(self)
                if self.waiting or self.running:
                    self.sleep(0.5)
            self.watch(self)
        finally:
            self.stop()

    def stop(self) -> None:
        """Kill what runs; each job goes on from its checkpoint when it is started again."""
        for ticket in self.running:
            assert ticket.process is not None
            ticket.process.stop()
            write_record(self.folder, ticket.job.name, event="ended", pid=ticket.process.pid, message="stopped")
        self.running.clear()

    def _look_after(self, ticket: Ticket) -> None:
        assert ticket.process is not None
        code = ticket.process.poll()
        if code is None:
            return
        self.running.remove(ticket)
        if code == 0 and state_of(ticket.job.folder) is State.DONE:
            ticket.note = "done"
            self.done.append(ticket)
            write_record(self.folder, ticket.job.name, event="ended", pid=ticket.process.pid)
            return
        why = ticket.process.why(code) if code else f"ended without an error, but wrote no {ticket.job.summary}"
        self._failed(ticket, why, pid=ticket.process.pid)

    def _failed(self, ticket: Ticket, why: str, *, pid: int) -> None:
        ticket.note = why
        wait_s = ticket.attempts.failed(why)
        write_record(self.folder, ticket.job.name, event="failed", pid=pid, message=why)
        if wait_s is None:
            self.failed.append(ticket)
        else:
            ticket.not_before_s = self.clock() + wait_s
            self.waiting.append(ticket)

    def _fill_slots(self) -> None:
        free = [i for i in range(len(self.slots)) if i not in {ticket.place for ticket in self.running}]
        for ticket in list(self.waiting):
            if not free:
                return
            if ticket.not_before_s <= self.clock() and self._started(ticket, free[0]):
                free.pop(0)

    def _started(self, ticket: Ticket, place: int) -> bool:
        """Start a job, if nobody else has its fold and nobody else, not even a user by hand, has finished it."""
        job = ticket.job
        try:
            lock = make_and_share(job.folder, patience_s=0)
        except FolderBusyError:
            ticket.note = f"another process trains {job.folder}"
            return False
        try:
            set_aside_cut_files(job.folder)
            take_newest_checkpoint(job.folder)
            state = state_of(job.folder)
            self.waiting.remove(ticket)
            if state is State.DONE:
                self.done.append(ticket)
                return False
            ticket.place, ticket.note = place, state.value
            ticket.process = self._process(job, state, self.slots[place], lock=lock)
        finally:
            os.close(lock)
        self.running.append(ticket)
        write_record(self.folder, job.name, event="started", pid=ticket.process.pid)
        return True

    def _process(self, job: Job, state: State, slot: Slot, *, lock: int) -> JobProcess:
        return JobProcess(
            self.command(job, state),
            log=self.folder / "logs" / f"{job.name}.txt",
            environment={**self.environment(job), **slot.environment},
            lock=lock,
        )


def local_slots(device: str, jobs_at_once: int | None) -> list[Slot]:
    """Return the places of this machine: one for each visible GPU, or `jobs_at_once` on a CPU; empty without a GPU."""
    if device == "cpu":
        return [Slot()] * (jobs_at_once or 1)
    return [Slot(gpu=gpu) for gpu in visible_gpus()][:jobs_at_once]


def visible_gpus() -> list[str]:
    """Return the GPUs that jobs may use: those that CUDA_VISIBLE_DEVICES names, else all that the driver lists."""
    named = os.environ.get(GPU_VARIABLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return listed.stdout.split() if listed.returncode == 0 else []
