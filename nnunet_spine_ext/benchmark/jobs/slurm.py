"""Jobs on a Slurm cluster, through submitit (extra `[slurm]`): an array, one job a task.

A task runs the queue of `local_queue.py` with its one job, so state, retries and records are the same as on one
machine. When its time is up, Slurm signals it some seconds before; submitit then calls `checkpoint`, which stops the
training, and puts the task back into the queue, where it goes on with `--c`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from nnunet_spine_ext.benchmark.comparison import Comparison
from nnunet_spine_ext.benchmark.jobs.commands import training_command
from nnunet_spine_ext.benchmark.jobs.job import Job, environment_of
from nnunet_spine_ext.benchmark.jobs.local_queue import LocalQueue, Slot
from nnunet_spine_ext.benchmark.jobs.retry import Attempts
from nnunet_spine_ext.benchmark.jobs.state import State, state_of
from nnunet_spine_ext.benchmark.plan import Plan
from nnunet_spine_ext.data.files import read_json, write_json
from nnunet_spine_ext.errors import SetupError, SpineExtError
from nnunet_spine_ext.paths import TRAINERS_VARIABLE

Cluster = Literal["slurm", "local", "debug"]
CommandOfPlan = Callable[[Job, State, Plan], Sequence[str]]

MOST_TIMEOUTS = 100
"""How often one job may run out of time and go on in a new one."""
GENERIC = {"timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "name"}
"""What submitit takes for every cluster; the rest is sbatch's own."""
INHERITED = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_compile", "nnUNet_def_n_proc", TRAINERS_VARIABLE)


class JobFailedError(SpineExtError):
    """A job of a cluster failed for good; the message is the end of its log."""


class Patience:
    """Gives an allocation back when another process keeps training the fold; a stopped one lets go within seconds."""

    def __init__(self, *, most_s: float = 300.0) -> None:
        """Begin to wait, for so many seconds at most."""
        self.end_s = time.monotonic() + most_s

    def __call__(self, queue: LocalQueue) -> None:
        """Raise `JobFailedError` when the patience is at its end."""
        for ticket in queue.waiting:
            if not ticket.attempts.failures and time.monotonic() > self.end_s:
                raise JobFailedError(f"{ticket.job}: {ticket.note}")


class ClusterJob:
    """One job as submitit calls it; picklable, and the same again after a time-out."""

    def __init__(
        self,
        job: Job,
        *,
        plan: Plan,
        folder: Path,
        variables: Mapping[str, str],
        command: CommandOfPlan = training_command,
        first_wait_s: float = Attempts.first_wait_s,
    ) -> None:
        """Name the job.

        Args:
            job: to run.
            plan: of the comparison.
            folder: of the comparison.
            variables: of the environment that the job was submitted from.
            command: returns what runs the rest of a job.
            first_wait_s: before a second attempt.
        """
        self.job = job
        self.plan = plan
        self.folder = folder
        self.variables = dict(variables)
        self.command = command
        self.first_wait_s = first_wait_s
        self._queue: LocalQueue | None = None

    def __call__(self) -> str:
        """Run what is left of the job; return its name.

        Raises:
            JobFailedError: it failed for good.
        """
        os.environ.update(self.variables)
        self._queue = LocalQueue(
            folder=self.folder,
            jobs=[self.job],
            slots=[Slot()],
            command=lambda job, state: self.command(job, state, self.plan),
            environment=lambda job: environment_of(job, self.plan),
            attempts=lambda: Attempts(first_wait_s=self.first_wait_s),
            watch=Patience(),
        )
        self._queue.run()
        if self._queue.failed:
            raise JobFailedError(f"{self.job} failed: {self._queue.failed[0].note}")
        return self.job.name

    def checkpoint(self) -> Any:  # noqa: ANN401  (a type of submitit)
        """Stop, and return what is to be run instead: submitit calls this shortly before the time is up."""
        import submitit

        if self._queue is not None:
            self._queue.stop()
        return submitit.helpers.DelayedSubmission(self)

    def __getstate__(self) -> dict[str, object]:
        """Return all but the running queue."""
        return {**self.__dict__, "_queue": None}


def submit(
    comparison: Comparison,
    *,
    cluster: Cluster = "slurm",
    only: Sequence[Job] | None = None,
    command: CommandOfPlan = training_command,
) -> list[str]:
    """Submit every job that is not done; return their ids at the cluster, none if all are done.

    Args:
        comparison: whose jobs are meant, and whose plan holds what `sbatch` is asked for.
        cluster: `slurm`; `local` and `debug` are submitit's own, for trying things out.
        only: these jobs instead of all.
        command: returns what runs the rest of a job.

    Raises:
        SetupError: submitit or Slurm is absent, sbatch does not know an option, or an earlier array still runs.
    """
    _refuse_twice(comparison.folder)
    jobs = [job for job in only or comparison.jobs if state_of(job.folder) is not State.DONE]
    if not jobs:
        return []
    executor = make_executor(comparison.folder / "slurm", comparison.plan.slurm, cluster=cluster)
    variables = {name: os.environ[name] for name in INHERITED if os.environ.get(name)}
    calls = [
        ClusterJob(job, plan=comparison.plan, folder=comparison.folder, variables=variables, command=command)
        for job in jobs
    ]
    with executor.batch():
        submitted = [executor.submit(call) for call in calls]
    ids = [str(job.job_id) for job in submitted]
    names = [job.name for job in jobs]
    write_json({"cluster": cluster, "jobs": dict(zip(names, ids, strict=True))}, _submitted_file(comparison.folder))
    return ids


def make_executor(folder: Path, options: Mapping[str, object], *, cluster: Cluster) -> Any:  # noqa: ANN401
    """Return submitit's executor with the options of a plan's table `slurm`.

    Raises:
        SetupError: submitit or Slurm is absent, or an option is unknown.
    """
    try:
        import submitit
    except ImportError as error:
        raise SetupError('submitit is not installed. Install it: pip install "nnunet_spine_ext[slurm]"') from error
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster, slurm_max_num_timeout=MOST_TIMEOUTS)
    except RuntimeError as error:
        raise SetupError(f"This machine cannot submit to Slurm ({error}). Run it where sbatch is.") from error
    named = {"name": "nnunet_spine", **options}
    prefixed = {key if key in GENERIC else f"slurm_{key}": value for key, value in named.items()}
    try:
        executor.update_parameters(**prefixed)
    except (NameError, ValueError, AssertionError, TypeError) as error:
        raise SetupError(f"The table `slurm` of the plan holds what sbatch does not take: {error}") from error
    return executor


def _refuse_twice(folder: Path) -> None:
    """Raise if what was submitted before is still queued or running."""
    file = _submitted_file(folder)
    if not file.is_file() or shutil.which("squeue") is None:
        return
    record = read_json(file)
    arrays = sorted({re.split(r"[_.]", job)[0] for job in record["jobs"].values()})
    if record["cluster"] != "slurm" or not arrays:
        return
    listed = subprocess.run(
        ["squeue", "--noheader", "--format=%A", f"--jobs={','.join(arrays)}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0 and listed.stdout.split():
        raise SetupError(
            f"{' '.join(arrays)} is still in Slurm's queue. Wait for it (nnunet_spine benchmark status {folder}), "
            f"or end it with scancel {' '.join(arrays)}."
        )


def _submitted_file(folder: Path) -> Path:
    return folder / "slurm" / "submitted.json"
