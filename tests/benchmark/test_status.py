"""The status of a comparison: from the disk alone, from anywhere, and honest about what runs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark.comparison import Comparison, read_comparison
from nnunet_spine_ext.benchmark.jobs.status import as_json, as_table, in_words, status_of
from nnunet_spine_ext.benchmark.records import Record, is_running, read_record, write_record
from nnunet_spine_ext.errors import SetupError
from tests.benchmark.fake import make_comparison, make_plan, make_queue
from tests.benchmark.fake_training import write_checkpoint, write_summary

LOG = (
    "2026-11-21 08:00:01.1: Epoch 4\n2026-11-21 08:00:01.1: Pseudo dice [np.float32(0.5), np.float32(0.75)]\n"
    "2026-11-21 08:00:01.1: Epoch time: 30.0 s\n"
)


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """One job of every state."""
    comparison = make_comparison(tmp_path, make_plan(trainers=["A", "B"], folds=[0, 1, 2]))
    done, failed, training, validating, begun, _ = comparison.jobs
    write_summary(done.summary)
    write_record(comparison.folder, failed.name, event="failed", pid=1, message="RuntimeError: broken")
    for job in (training, begun):
        write_checkpoint(job.folder / "checkpoint_latest.pth")
        (job.folder / "debug.json").write_text(json.dumps({"num_epochs": "10"}))
        (job.folder / "training_log_2026_11_21_08_00_00.txt").write_text(LOG)
    write_checkpoint(validating.folder / "checkpoint_final.pth")
    for job in (training, validating):
        write_record(comparison.folder, job.name, event="started", pid=os.getpid())
    return comparison


def test_states(comparison: Comparison) -> None:
    rows = status_of(comparison)
    assert [row.state for row in rows] == ["done", "failed", "training", "validating", "begun", "not begun"]
    assert rows[1].message == "RuntimeError: broken"
    assert (rows[2].progress.epoch, rows[2].progress.epochs, rows[2].progress.dice) == (5, 10, 0.625)
    assert [row.host for row in rows] == ["", "", socket.gethostname(), socket.gethostname(), "", ""]


def test_the_table_says_epoch_dice_time_left_and_reasons(comparison: Comparison) -> None:
    lines = as_table(status_of(comparison)).splitlines()
    assert lines[0].split() == ["model", "fold", "seed", "state", "epoch", "Dice*", "left", "last", "sign", "on"]
    assert lines[3].split()[:9] == ["A", "1", "0", "training", "5/10", "0.625", "2", "min", "0"]
    assert "B, fold 0 failed:\nRuntimeError: broken" in "\n".join(lines)
    assert lines[-1] == "6 jobs: 1 done, 1 failed, 1 training, 1 validating, 1 begun, 1 not begun."


def test_json_holds_null_for_what_is_not_known(comparison: Comparison) -> None:
    content = json.loads(json.dumps(as_json(comparison, status_of(comparison))))
    last = content["jobs"][-1]
    assert last["state"] == "not begun"
    assert last["pseudo_dice"] is None
    assert content["jobs"][2]["seconds_left"] == 150.0
    assert content["jobs"][0]["folder"] == str(comparison.jobs[0].folder)


def test_a_done_job_is_done_whatever_was_heard_of_it(comparison: Comparison) -> None:
    failed = comparison.jobs[1]
    write_summary(failed.summary)
    row = status_of(comparison)[1]
    assert (row.state, row.message) == ("done", "")


def test_the_command_from_another_folder_without_nnunets_variables(comparison: Comparison, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    command = [sys.executable, "-m", "nnunet_spine_ext", "benchmark", "status", "../comparison", "--json"]
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True)
    assert [job["state"] for job in json.loads(done.stdout)["jobs"]][:2] == ["done", "failed"]


def test_a_comparison_that_moved_with_its_results_is_found(comparison: Comparison, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("comparison", "results"):
        shutil.move(tmp_path / name, moved / name)
    assert status_of(read_comparison(moved / "comparison"))[0].state == "done"
    shutil.move(moved / "results", tmp_path / "far")
    with pytest.raises(SetupError, match="export nnUNet_results"):
        read_comparison(moved / "comparison")


def test_results_elsewhere_are_found_by_the_variable(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(comparison.results, tmp_path / "far")
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "far"))
    assert status_of(read_comparison(comparison.folder))[0].state == "done"


def test_a_changed_plan_has_to_be_run_first(comparison: Comparison) -> None:
    file = comparison.folder / "benchmark.yaml"
    file.write_text(file.read_text().replace("  - B\n", "  - B\n  - C\n"))
    with pytest.raises(SetupError, match="has changed since"):
        read_comparison(comparison.folder)
    file.write_text(file.read_text().replace("  - C\n", "").replace("folds: [0, 1, 2]", "folds: [0]"))
    assert len(read_comparison(comparison.folder).jobs) == 2  # fewer folds need no new choice of baselines


def test_a_process_that_is_gone_does_not_run() -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    here = Record(event="started", time_s=time.time(), host=socket.gethostname(), pid=gone.pid)
    assert not is_running(here, silent_since_s=1.0)
    assert not is_running(None, silent_since_s=1.0)


@pytest.mark.parametrize(
    ("started_s", "silent_s", "running"),
    [(10, None, True), (10, 9000, True), (9000, 10, True), (9000, 9000, False), (9000, None, False)],
)
def test_a_job_of_another_machine_runs_while_it_writes(started_s: float, silent_s: float | None, running: bool) -> None:
    record = Record(event="started", time_s=time.time() - started_s, host="elsewhere", pid=1)
    assert is_running(record, silent_since_s=silent_s) is running


def test_a_cut_record_is_none(tmp_path: Path) -> None:
    write_record(tmp_path, "job", event="started", pid=1)
    file = tmp_path / "jobs" / "job.json"
    file.write_text(file.read_text()[:-5])
    assert read_record(tmp_path, "job") is None


def test_a_finished_queue_leaves_nothing_running(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(trainers=["Bad", "Good"], folds=[0]))
    make_queue(comparison, how={"Bad": "crashes"}).run()
    assert [row.state for row in status_of(read_comparison(comparison.folder))] == ["failed", "done"]


def test_durations_in_words() -> None:
    seconds = (None, 5, 61, 3599, 3600, 12_000, 100_000)
    assert [in_words(s) for s in seconds] == ["", "5 s", "1 min", "59 min", "1 h 0 min", "3 h 20 min", "1 d 3 h"]
