"""How far a comparison is: read from the disk only, hence from any machine that sees the folders."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine_ext.benchmark.comparison import Comparison
from nnunet_spine_ext.benchmark.jobs.job import Job
from nnunet_spine_ext.benchmark.jobs.progress import Progress, last_sign_of_life, read_progress
from nnunet_spine_ext.benchmark.jobs.state import State, state_of
from nnunet_spine_ext.benchmark.records import Record, is_running, read_record

DONE, FAILED, TRAINING, VALIDATING = "done", "failed", "training", "validating"
_COLUMNS = ("model", "fold", "seed", "state", "epoch", "Dice*", "left", "last sign", "on")


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """What can be said about one job."""

    job: Job
    state: str
    """done, failed, training, validating, or what nnU-Net's files say: not begun, begun, trained."""
    progress: Progress
    silent_s: float | None
    """Seconds since nnU-Net last wrote something."""
    host: str = ""
    message: str = ""


def status_of(comparison: Comparison) -> list[JobStatus]:
    """Return the status of every job, in the order in which they are begun."""
    return [look_at(job, comparison.folder) for job in comparison.jobs]


def look_at(job: Job, comparison: Path) -> JobStatus:
    """Return the status of one job of the comparison in a folder."""
    state, record = state_of(job.folder), read_record(comparison, job.name)
    sign = last_sign_of_life(job.folder)
    silent_s = None if sign is None else max(0.0, time.time() - sign)
    running = is_running(record, silent_since_s=silent_s)
    return JobStatus(
        job=job,
        state=_word(state, record, running=running),
        progress=read_progress(job.folder),
        silent_s=silent_s,
        host=record.host if record and running else "",
        message=record.message if record and record.event == FAILED and state is not State.DONE else "",
    )


def _word(state: State, record: Record | None, *, running: bool) -> str:
    if state is State.DONE:
        return DONE
    if running:
        return VALIDATING if state is State.VALIDATE else TRAINING
    if record is not None and record.event == FAILED:
        return FAILED
    return str(state.value)


def as_table(rows: Sequence[JobStatus]) -> str:
    """Return the rows as a table of fixed width, what failed with its reason, and a sum."""
    cells = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    reasons = [f"\n{row.job} failed:\n{row.message}" for row in rows if row.message]
    counts = Counter(row.state for row in rows)
    total = ", ".join(f"{n} {state}" for state, n in counts.most_common())
    footnote = "* nnU-Net's pseudo Dice of the last epoch, of random patches: an estimate."
    return "\n".join([*lines, *reasons, "", footnote, f"{len(rows)} jobs: {total}."])


def as_json(comparison: Comparison, rows: Sequence[JobStatus]) -> dict[str, object]:
    """Return the rows as JSON values, `null` for what is not known."""
    return {
        "dataset": comparison.dataset,
        "jobs": [
            {
                "job": row.job.name,
                "model": row.job.model.title,
                "trainer": row.job.model.trainer,
                "plans": row.job.model.plans,
                "configuration": row.job.model.configuration,
                "fold": row.job.fold,
                "seed": row.job.seed,
                "state": row.state,
                "epoch": row.progress.epoch,
                "epochs": row.progress.epochs,
                "pseudo_dice": row.progress.dice,
                "epoch_seconds": row.progress.epoch_seconds,
                "seconds_left": None if row.state == DONE else row.progress.seconds_left,
                "silent_seconds": row.silent_s,
                "host": row.host or None,
                "message": row.message or None,
                "folder": str(row.job.folder),
            }
            for row in rows
        ],
    }


def _cells(row: JobStatus) -> tuple[str, ...]:
    progress = row.progress
    epoch = f"{progress.epoch}/{progress.epochs}" if progress.epochs else str(progress.epoch or "")
    unfinished = row.state in (TRAINING, "begun")
    return (
        row.job.model.title,
        str(row.job.fold),
        str(row.job.seed),
        row.state,
        epoch,
        "" if progress.dice is None else f"{progress.dice:.3f}",
        in_words(progress.seconds_left) if unfinished else "",
        "" if row.silent_s is None or row.state == DONE else in_words(row.silent_s),
        row.host,
    )


def in_words(seconds: float | None) -> str:
    """Return a duration for people: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds is None:
        return ""
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"
