"""From finished jobs to the tables of a comparison: complete, in order, the same bytes for the same results."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark.collect import collect
from nnunet_spine_ext.benchmark.comparison import Comparison
from nnunet_spine_ext.benchmark.jobs.job import Job
from nnunet_spine_ext.benchmark.records import write_record
from tests.benchmark.fake import make_comparison, make_plan
from tests.benchmark.fake_dataset import FOLDS, label_map, write_dataset
from tests.benchmark.fake_training import write_summary
from tests.conftest import NnunetFolders
from tests.training.tiny import write_volume


@pytest.fixture
def comparison(nnunet_folders: NnunetFolders, tmp_path: Path) -> Comparison:
    write_dataset(nnunet_folders)
    comparison = make_comparison(tmp_path, make_plan(trainers=["A", "B"], folds=[0, 1]))
    for job in comparison.jobs:
        finish(job)
    return comparison


def finish(job: Job, *, shift: int | None = None) -> None:
    for case in FOLDS[job.fold]:
        moved = (job.model.trainer == "B") if shift is None else shift
        write_volume(label_map(case, shift=int(moved)), job.validation / f"{case}.nii.gz")
    write_summary(job.summary)
    content = json.loads(job.summary.read_text())
    job.summary.write_text(json.dumps({**content, "shift": shift}))


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_case_of_every_model_is_there_once_in_order(comparison: Comparison) -> None:
    collected = collect(comparison, processes=1)
    assert (len(collected.tables), collected.problems) == (4, ())
    dice = [row for row in rows(comparison.folder / "metrics.csv") if row["metric"] == "dice" and row["label"] == "L5"]
    assert [(r["model"], r["fold"], r["seed"], r["case"]) for r in dice] == [
        (model, str(fold), "0", case) for model in ("A", "B") for fold in (0, 1) for case in FOLDS[fold]
    ]
    # A is the reference; B's box of 4 rows is one row off: 2 * 3 / (4 + 4).
    assert [float(r["value"]) for r in dice] == [1.0] * 4 + [0.75] * 4


def test_confusions_are_joined(comparison: Comparison) -> None:
    collect(comparison, processes=1)
    found = rows(comparison.folder / "confusion.csv")
    assert {(r["model"], r["fold"], r["case"]) for r in found} == {
        (model, str(fold), case) for model in ("A", "B") for fold in (0, 1) for case in FOLDS[fold]
    }
    missed = [r for r in found if r["model"] == "B" and (r["reference"], r["prediction"]) == ("L5", "background")]
    assert [int(r["voxels"]) for r in missed] == [2 * 1 * 5] * 4


def test_the_same_results_give_the_same_bytes(comparison: Comparison) -> None:
    collect(comparison, processes=1)
    names = ("metrics.csv", "confusion.csv", "jobs.csv")
    before = [(comparison.folder / name).read_bytes() for name in names]
    tables = [table.stat().st_mtime_ns for table in sorted((comparison.folder / "metrics").glob("*.csv"))]
    collect(comparison, processes=1)
    assert [table.stat().st_mtime_ns for table in sorted((comparison.folder / "metrics").glob("*.csv"))] == tables
    for file in (comparison.folder / "metrics").iterdir():
        if file.is_file():
            file.unlink()
    collect(comparison, processes=1)
    assert [(comparison.folder / name).read_bytes() for name in names] == before


def test_a_fold_trained_anew_is_evaluated_anew(comparison: Comparison) -> None:
    collect(comparison, processes=1)
    finish(comparison.jobs[0], shift=2)
    collect(comparison, processes=1)
    first = [r for r in rows(comparison.folder / "metrics.csv") if (r["model"], r["fold"]) == ("A", "0")]
    assert {float(r["value"]) for r in first if (r["metric"], r["label"]) == ("dice", "L5")} == {0.5}


def test_what_is_not_done_is_left_out_and_listed(comparison: Comparison) -> None:
    failed, begun = comparison.jobs[0], comparison.jobs[3]
    for job in (failed, begun):
        job.summary.unlink()
    write_record(comparison.folder, failed.name, event="failed", pid=1, message="RuntimeError: broken\nsecond line")
    assert len(collect(comparison, processes=1).tables) == 2
    assert [(r["model"], r["fold"], r["state"], r["message"]) for r in rows(comparison.folder / "jobs.csv")] == [
        ("A", "0", "failed", "RuntimeError: broken\nsecond line"),
        ("A", "1", "done", ""),
        ("B", "0", "done", ""),
        ("B", "1", "not begun", ""),
    ]
    assert {r["fold"] for r in rows(comparison.folder / "metrics.csv") if r["model"] == "A"} == {"1"}


def test_a_job_that_cannot_be_evaluated_stops_no_other(comparison: Comparison) -> None:
    (comparison.jobs[0].validation / "a.nii.gz").unlink()
    collected = collect(comparison, processes=1)
    assert len(collected.tables) == 3
    (problem,) = collected.problems
    assert problem.startswith("A, fold 0 cannot be evaluated")
    assert [r["state"] for r in rows(comparison.folder / "jobs.csv")] == ["not evaluated", "done", "done", "done"]


def test_nothing_done_is_no_table(comparison: Comparison) -> None:
    for job in comparison.jobs:
        job.summary.unlink()
    assert collect(comparison).tables == ()
    assert not (comparison.folder / "metrics.csv").exists()
    assert len(rows(comparison.folder / "jobs.csv")) == 4
