"""The command that does what is left of a job."""

from __future__ import annotations

import sys

from nnunet_spine_ext.benchmark.jobs.job import Job
from nnunet_spine_ext.benchmark.jobs.state import State
from nnunet_spine_ext.benchmark.plan import Plan

_FLAGS = {State.FRESH: (), State.CONTINUE: ("--c",), State.VALIDATE: ("--val",)}


def training_command(job: Job, state: State, plan: Plan) -> list[str]:
    """Return the command that trains, continues or validates a job, in this Python."""
    assert state is not State.DONE, job
    return [
        *(sys.executable, "-m", "nnunet_spine_ext", "train"),
        *(str(job.dataset_id), job.model.configuration, str(job.fold)),
        *("-tr", job.model.trainer, "-p", job.model.plans, "-device", plan.device),
        *_FLAGS[state],
        *(("--npz",) if plan.find_best else ()),
    ]
