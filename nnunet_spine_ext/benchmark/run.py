"""Run a comparison: everything that is left of it, jobs first, then tables, costs and report.

plan ─▶ check, baselines ─▶ jobs (local queue or Slurm) ─▶ metrics, confusion ─▶ costs, budget, best ─▶ report.html
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine_ext.benchmark.after import finish
from nnunet_spine_ext.benchmark.collect import write_jobs
from nnunet_spine_ext.benchmark.comparison import Comparison
from nnunet_spine_ext.benchmark.jobs.commands import training_command
from nnunet_spine_ext.benchmark.jobs.job import Job, environment_of
from nnunet_spine_ext.benchmark.jobs.live import Live
from nnunet_spine_ext.benchmark.jobs.local_queue import LocalQueue, local_slots
from nnunet_spine_ext.benchmark.jobs.retry import Attempts
from nnunet_spine_ext.benchmark.jobs.state import State, state_of
from nnunet_spine_ext.benchmark.resolving import resolve
from nnunet_spine_ext.data.locks import FolderBusyError, make_and_share
from nnunet_spine_ext.errors import SetupError

Say = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run."""

    report: Path | None
    """None where nothing could be evaluated yet, or the jobs went to a cluster."""
    problems: tuple[str, ...]
    """Of failed jobs, and of what could not be evaluated."""


def run(
    folder: Path,
    *,
    jobs: Sequence[str] = (),
    collect_only: bool = False,
    slurm: bool = False,
    without_baseline: bool = False,
    find_best: bool = False,
    processes: int = 2,
    say: Say = print,
) -> Outcome:
    """Run what is left of the comparison in a folder; after a kill the same call goes on.

    Args:
        folder: with a `benchmark.yaml`.
        jobs: names of jobs: run these alone, and evaluate nothing.
        collect_only: run no job; evaluate those that are done.
        slurm: submit the jobs to Slurm and return.
        without_baseline: leave stock nnU-Net out.
        find_best: let nnU-Net choose the best model or ensemble at the end, even if the plan does not ask for it.
        processes: cases evaluated at once.
        say: receives what happens, a line at a time.

    Raises:
        SetupError: another run of the same comparison lives, or something is not installed.
        DataError: all that is wrong with the plan or missing for it.
        KeyboardInterrupt: Ctrl-C; every training has been stopped, and goes on with the next call.
    """
    comparison = resolve(folder, without_baseline=without_baseline, slurm=slurm or collect_only)
    if jobs:
        return Outcome(report=None, problems=_run_jobs(comparison, _named(comparison, jobs)))
    with _alone(comparison.folder):
        for note in comparison.notes:
            say(note)
        done = sum(state_of(job.folder) is State.DONE for job in comparison.jobs)
        say(f"{len(comparison.jobs)} jobs, {done} of them done.")
        if slurm:
            return _submit(comparison, say)
        problems = () if collect_only else _run_jobs(comparison, comparison.jobs)
        report, found = finish(comparison, find_best=find_best, processes=processes, say=say)
    return Outcome(report=report, problems=(*problems, *found))


def _run_jobs(comparison: Comparison, jobs: Sequence[Job]) -> tuple[str, ...]:
    """Run jobs on this machine; return what is to be said about those that failed."""
    plan = comparison.plan
    queue = LocalQueue(
        folder=comparison.folder,
        jobs=jobs,
        slots=local_slots(plan.device, plan.jobs_at_once),
        command=lambda job, state: training_command(job, state, plan),
        environment=lambda job: environment_of(job, plan),
        attempts=Attempts,
        watch=Live(),
    )
    queue.run()
    write_jobs(comparison)
    logs = comparison.folder / "logs"
    return tuple(f"{t.job} failed (all of it: {logs / t.job.name}.txt):\n{t.note}" for t in queue.failed)


def _named(comparison: Comparison, names: Sequence[str]) -> list[Job]:
    known = {job.name: job for job in comparison.jobs}
    absent = [name for name in names if name not in known]
    if absent:
        raise SetupError(f"No job is called {', '.join(absent)}. There are:\n" + "\n".join(known))
    return [known[name] for name in names]


def _submit(comparison: Comparison, say: Say) -> Outcome:
    from nnunet_spine_ext.benchmark.jobs.slurm import submit

    ids = submit(comparison)
    say(f"{len(ids)} jobs submitted. Then: nnunet_spine benchmark run {comparison.folder} --collect")
    return Outcome(report=None, problems=())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse a second run of the same comparison while the first lives."""
    try:
        lock = make_and_share(folder / "logs", patience_s=0)
    except FolderBusyError as error:
        raise SetupError(f"{folder} is being run already. Watch it: nnunet_spine benchmark status {folder}") from error
    try:
        yield
    finally:
        os.close(lock)
