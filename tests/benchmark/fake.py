"""Plans, jobs and comparisons whose trainings are small scripts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nnunet_spine_ext.benchmark.comparison import Comparison, write_facts
from nnunet_spine_ext.benchmark.jobs.job import Job
from nnunet_spine_ext.benchmark.jobs.local_queue import LocalQueue, Slot
from nnunet_spine_ext.benchmark.jobs.retry import Attempts
from nnunet_spine_ext.benchmark.jobs.state import State
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.benchmark.plan import Entry, Plan
from nnunet_spine_ext.benchmark.yaml_template import plan_text

DATASET = "Dataset501_Fake"
SCRIPT = Path(__file__).with_name("fake_training.py")
FLAGS = {State.FRESH: "fresh", State.CONTINUE: "--c", State.VALIDATE: "--val"}


def make_plan(
    *, trainers: Sequence[str] = ("SpineHybridTrainer",), folds: Sequence[int] = (0, 1), **more: object
) -> Plan:
    entries = tuple(Entry(trainer=trainer, configurations=("3d_fullres",)) for trainer in trainers)
    values = {"device": "cpu", "with_baseline": False, **more}
    return Plan(dataset_id=501, entries=entries, folds=tuple(folds), **values)  # type: ignore[arg-type]


def make_comparison(root: Path, plan: Plan | None = None, *, models: Sequence[Model] | None = None) -> Comparison:
    """A comparison that has begun: its folder holds plan and facts, nnU-Net's results folder is there."""
    plan = plan or make_plan()
    comparison = Comparison(
        folder=root / "comparison",
        plan=plan,
        dataset=DATASET,
        results=root / "results",
        models=tuple(models or plan.models),
    )
    comparison.folder.mkdir(parents=True, exist_ok=True)
    comparison.results.mkdir(exist_ok=True)
    (comparison.folder / "benchmark.yaml").write_text(plan_text(plan))
    write_facts(comparison)
    return comparison


def fake_command(how: Mapping[str, str] | None = None) -> Callable[[Job, State], list[str]]:
    """Return the command of a job; `how` says by trainer how its training goes (see fake_training.py)."""

    def command(job: Job, state: State) -> list[str]:
        return [sys.executable, str(SCRIPT), str(job.folder), FLAGS[state], (how or {}).get(job.model.trainer, "works")]

    return command


def make_queue(comparison: Comparison, *, how: Mapping[str, str] | None = None, **more: object) -> LocalQueue:
    values = {
        "slots": [Slot()],
        "command": fake_command(how),
        "attempts": lambda: Attempts(first_wait_s=0.01),
        "sleep": lambda _: time.sleep(0.02),
        **more,
    }
    return LocalQueue(folder=comparison.folder, jobs=comparison.jobs, **values)  # type: ignore[arg-type]


def calls(job: Job) -> list[str]:
    """How often, and with which flag, the job's training was called."""
    file = job.folder / "calls.txt"
    return [line.split(maxsplit=1)[0] for line in file.read_text().splitlines()] if file.exists() else []


def plans_file(folder: Path, name: str, configurations: Mapping[str, object]) -> Path:
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"plans_name": name, "configurations": configurations}))
    return file


def wait_until(happened: Callable[[], bool], *, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that still run."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
