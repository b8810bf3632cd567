"""From finished jobs to the tables of a comparison: metrics.csv, confusion.csv, jobs.csv.

Rows stand in the order of the jobs and are copied as they are, so that the same results give the same bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from nnunet_spine_ext.benchmark.comparison import Comparison
from nnunet_spine_ext.benchmark.jobs.job import Job
from nnunet_spine_ext.benchmark.jobs.state import State, state_of
from nnunet_spine_ext.benchmark.jobs.status import JobStatus, look_at
from nnunet_spine_ext.data.files import make_folder, sha256_of, whole_file, write_text
from nnunet_spine_ext.errors import DataError
from nnunet_spine_ext.evaluation.confusion import confusion_path
from nnunet_spine_ext.evaluation.dataset import evaluate_dataset

METRICS, CONFUSION, JOBS = "metrics.csv", "confusion.csv", "jobs.csv"
NOT_EVALUATED = "not evaluated"
JOB_COLUMNS = ("model", "trainer", "plans", "configuration", "fold", "seed", "state", "message")


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What came of the jobs."""

    tables: tuple[Path, ...]
    """Of the jobs that are done."""
    problems: tuple[str, ...]
    """Of jobs that are done, but cannot be evaluated."""


def collect(comparison: Comparison, *, processes: int = 2) -> Collected:
    """Evaluate every job that is done and is not evaluated yet; write the joined tables, if there is anything to join.

    Args:
        comparison: with its jobs.
        processes: cases measured at once.

    Raises:
        DataError: a table cannot be written.
    """
    tables, problems = [], {}
    for job in ordered(comparison):
        if state_of(job.folder) is not State.DONE:
            continue
        try:
            tables.append(_evaluate(job, comparison.folder, processes=processes))
        except DataError as error:
            problems[job] = f"{job} cannot be evaluated: {error}"
    write_jobs(comparison, problems)
    if tables:
        join(tables, comparison.folder / METRICS)
        join([confusion_path(table) for table in tables], comparison.folder / CONFUSION)
    return Collected(tables=tuple(tables), problems=tuple(problems.values()))


def ordered(comparison: Comparison) -> list[Job]:
    """Return the jobs model by model, as tables list them."""
    place = {model: i for i, model in enumerate(comparison.models)}
    return sorted(comparison.jobs, key=lambda job: (place[job.model], job.seed, job.fold))


def write_jobs(comparison: Comparison, problems: Mapping[Job, str] = MappingProxyType({})) -> Path:
    """Write `jobs.csv`, the state of every job; return its path.

    Args:
        comparison: with its jobs.
        problems: what is wrong with jobs that are done, but cannot be evaluated.

    Raises:
        DataError: it cannot be written.
    """
    looks = [look_at(job, comparison.folder) for job in ordered(comparison)]
    rows = [replace(x, state=NOT_EVALUATED, message=problems[x.job]) if x.job in problems else x for x in looks]
    file = comparison.folder / JOBS
    with whole_file(file) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(JOB_COLUMNS)
        writer.writerows(_row(row) for row in rows)
    return file


def join(tables: Sequence[Path], output: Path) -> None:
    """Write CSV tables with the same header one after the other.

    Raises:
        DataError: their headers differ, or one cannot be read.
    """
    with whole_file(output) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(_lines(tables))


def _lines(tables: Sequence[Path]) -> Iterable[str]:
    header = ""
    for table in tables:
        with table.open(encoding="utf-8", newline="") as stream:
            first = next(stream, "")
            if header and first != header:
                raise DataError.of(table, "has other columns than its siblings", "Delete it and run the command again.")
            if not header:
                yield first
            header = first
            yield from stream


def _evaluate(job: Job, folder: Path, *, processes: int) -> Path:
    """Return the job's table of metrics, written unless it is there for just these predictions."""
    table = folder / "metrics" / f"{job.name}.csv"
    make_folder(table.parent)
    stamp = table.with_name(f"{table.name}.stamp")
    signature = f"{job.model.title}\n{sha256_of(job.summary)}\n"
    there = stamp.read_text(encoding="utf-8") if stamp.is_file() else ""
    if there != signature or not table.is_file() or not confusion_path(table).is_file():
        stamp.unlink(missing_ok=True)
        evaluate_dataset(
            job.dataset_id,
            job.validation,
            output=table,
            model=job.model.title,
            fold=str(job.fold),
            seed=str(job.seed),
            processes=processes,
        )
        write_text(signature, stamp)
    return table


def _row(row: JobStatus) -> tuple[str, ...]:
    job, model = row.job, row.job.model
    where = (model.title, model.trainer, model.plans, model.configuration, str(job.fold), str(job.seed))
    return (*where, row.state, row.message)
