"""Jobs on one machine, with scripts instead of trainings: resume, retries, failures, kills, locks, GPUs."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark.jobs.job import Job, environment_of
from nnunet_spine_ext.benchmark.jobs.local_queue import LocalQueue, Slot, local_slots, visible_gpus
from nnunet_spine_ext.benchmark.jobs.retry import Attempts
from nnunet_spine_ext.benchmark.jobs.state import State, state_of
from nnunet_spine_ext.benchmark.records import read_record
from nnunet_spine_ext.data.locks import make_and_share
from tests.benchmark.fake import calls, children, lives, make_comparison, make_plan, make_queue, wait_until
from tests.benchmark.fake_training import write_checkpoint, write_summary


def test_every_job_is_done_once(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(trainers=["A", "B"], folds=[0, 1]))
    queue = make_queue(comparison)
    queue.run()
    assert [str(ticket.job) for ticket in queue.done] == ["A, fold 0", "B, fold 0", "A, fold 1", "B, fold 1"]
    assert all(state_of(job.folder) is State.DONE and calls(job) == ["fresh"] for job in comparison.jobs)
    assert "training fold_0 fresh" in (comparison.folder / "logs" / f"{comparison.jobs[0].name}.txt").read_text()
    again = make_queue(comparison)
    again.run()
    assert len(again.done) == 4
    assert all(calls(job) == ["fresh"] for job in comparison.jobs)


def test_each_state_gets_its_flag(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(folds=[0, 1, 2, 3]))
    done, trained, begun, fresh = comparison.jobs
    write_summary(done.summary)
    write_checkpoint(trained.folder / "checkpoint_final.pth")
    write_checkpoint(begun.folder / "checkpoint_latest.pth", 2)
    (fresh.folder).mkdir()
    (fresh.folder / "checkpoint_final.pth").write_bytes(b"cut off")
    queue = make_queue(comparison)
    queue.run()
    assert [calls(job) for job in comparison.jobs] == [[], ["--val"], ["--c"], ["fresh"]]
    assert (fresh.folder / "checkpoint_final.pth.cut").read_bytes() == b"cut off"


def test_a_crashing_trainer_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(trainers=["Bad", "Good"], folds=[0, 1]))
    queue = make_queue(comparison, how={"Bad": "crashes"})
    queue.run()
    assert [str(t.job) for t in queue.failed] == ["Bad, fold 0", "Bad, fold 1"]
    assert [str(t.job) for t in queue.done] == ["Good, fold 0", "Good, fold 1"]
    assert all(t.note == "RuntimeError: this trainer always crashes" for t in queue.failed)
    assert all(calls(t.job) == ["fresh"] * 2 for t in queue.failed)  # the same failure twice is a failure
    record = read_record(comparison.folder, queue.failed[0].job.name)
    assert record is not None
    assert (record.event, record.message) == ("failed", "RuntimeError: this trainer always crashes")


def test_a_chance_failure_is_tried_again(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(folds=[0]))
    queue = make_queue(comparison, how={"SpineHybridTrainer": "crashes once"})
    queue.run()
    assert [calls(t.job) for t in queue.done] == [["fresh", "fresh"]]


def test_failing_without_an_error_is_failing(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(folds=[0]))
    queue = make_queue(comparison, how={"SpineHybridTrainer": "writes nothing"})
    queue.run()
    assert "wrote no" in queue.failed[0].note


def test_waits_grow_between_different_failures(tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        time.sleep(0.002)
        now[0] += seconds

    begun: list[float] = []

    class Watched(LocalQueue):
        def _process(self, *args: object, **more: object) -> object:  # type: ignore[override]
            begun.append(now[0])
            return super()._process(*args, **more)  # type: ignore[arg-type]

    comparison = make_comparison(tmp_path, make_plan(folds=[0]))
    plain = make_queue(comparison, how={"SpineHybridTrainer": "crashes differently"})
    queue = Watched(
        folder=plain.folder, jobs=plain.jobs, slots=plain.slots, command=plain.command,
        attempts=lambda: Attempts(first_wait_s=10_000.0, longest_wait_s=25_000.0, most=5),
        clock=lambda: now[0], sleep=sleep,
    )  # fmt: skip
    # Virtual seconds must be cheap while nothing but waiting is left.
    queue.watch = lambda q: now.__setitem__(0, now[0] + (0 if q.running else 500))
    queue.run()
    assert len(queue.failed) == 1
    waits = [after - before for before, after in itertools.pairwise(begun)]
    assert len(waits) == 4
    for wait, least in zip(waits, (10_000, 20_000, 25_000, 25_000), strict=True):
        assert least <= wait < least + 2_000


def test_same_failure_is_told_by_its_words_not_its_numbers() -> None:
    attempts = Attempts(first_wait_s=30, longest_wait_s=100)
    assert attempts.failed("worker 123 at 0x7f died") == 30
    assert attempts.failed("worker 456 at 0xff died") is None
    attempts = Attempts(first_wait_s=30, longest_wait_s=100, most=4)
    assert [attempts.failed(word) for word in "abcd"] == [30, 60, 100, None]


def test_a_killed_training_goes_on(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(folds=[0]))
    (job,) = comparison.jobs
    how = {"SpineHybridTrainer": "slow"}
    killed: list[int] = []

    def watch(queue: LocalQueue) -> None:
        if queue.running and not killed and (job.folder / "checkpoint_latest.pth").exists():
            (child,) = children(queue.running[0].process.pid)  # type: ignore[union-attr]
            killed.append(child)
            how.clear()
            os.kill(child, signal.SIGKILL)

    queue = make_queue(comparison, how=how, watch=watch)
    queue.run()
    assert calls(job) == ["fresh", "--c"]
    assert [t.attempts.failures for t in queue.done] == [["killed by SIGKILL; did the memory run out?"]]


def test_two_gpus_train_two_jobs_at_once(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(folds=[0, 1, 2, 3]))
    most = [0]
    queue = make_queue(
        comparison,
        slots=[Slot(gpu="0"), Slot(gpu="1")],
        watch=lambda q: most.__setitem__(0, max(most[0], len(q.running))),
    )
    queue.run()
    assert most == [2]
    lines = [(job.folder / "calls.txt").read_text().split() for job in comparison.jobs]
    assert {line[2] for line in lines} == {"0", "1"}
    spans = [
        (line[2], float(line[4]), float((job.folder / "ends.txt").read_text()))
        for line, job in zip(lines, comparison.jobs, strict=True)
    ]
    for gpu in ("0", "1"):  # one at a time on each
        on_it = sorted((begin, end) for g, begin, end in spans if g == gpu)
        assert len(on_it) >= 1
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(on_it))


def test_ctrl_c_kills_the_trainings_and_leaves_them_resumable(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(folds=[0, 1]))
    pids: list[int] = []

    def interrupt(queue: LocalQueue) -> None:
        if all((job.folder / "checkpoint_latest.pth").exists() for job in comparison.jobs):
            for ticket in queue.running:
                assert ticket.process is not None
                pids.extend([ticket.process.pid, *children(ticket.process.pid)])
            raise KeyboardInterrupt

    queue = make_queue(comparison, how={"SpineHybridTrainer": "slow"}, slots=[Slot(), Slot()], watch=interrupt)
    with pytest.raises(KeyboardInterrupt):
        queue.run()
    assert len(pids) == 4
    wait_until(lambda: not any(lives(pid) for pid in pids))
    again = make_queue(comparison)
    again.run()
    assert [calls(job) for job in comparison.jobs] == [["fresh", "--c"]] * 2


SCRIPT = """
import sys
from pathlib import Path
from tests.benchmark.fake import make_comparison, make_plan, make_queue
make_queue(make_comparison(Path(sys.argv[1]), make_plan(folds=[0])), how={"SpineHybridTrainer": "slow"}).run()
"""


def test_trainings_die_with_a_queue_that_is_killed_outright(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=root)
    fold = tmp_path / "results" / "Dataset501_Fake" / "SpineHybridTrainer__nnUNetPlans__3d_fullres" / "fold_0"
    wait_until((fold / "checkpoint_latest.pth").exists)
    (supervisor,) = children(process.pid)
    (training,) = children(supervisor)
    process.kill()
    process.wait()
    wait_until(lambda: not lives(supervisor) and not lives(training))
    os.close(make_and_share(fold, patience_s=5))  # its lock went with it


def test_a_fold_that_somebody_else_trains_is_waited_for(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(folds=[0, 1]))
    first, second = comparison.jobs
    lock = make_and_share(first.folder, patience_s=0)
    notes: list[str] = []

    def watch(queue: LocalQueue) -> None:
        nonlocal lock
        if lock >= 0 and second in [ticket.job for ticket in queue.done]:
            notes.extend(ticket.note for ticket in queue.waiting)
            write_summary(first.summary)  # the other one finishes it
            os.close(lock)
            lock = -1

    queue = make_queue(comparison, watch=watch)
    queue.run()
    assert notes == [f"another process trains {first.folder}"]
    assert len(queue.done) == 2
    assert calls(first) == []


def test_a_running_job_keeps_others_off_its_fold(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(folds=[0]))
    (job,) = comparison.jobs
    first = make_queue(comparison, how={"SpineHybridTrainer": "slow"})
    seen = threading.Event()

    def stop_when_seen(_: LocalQueue) -> None:
        if seen.is_set():
            raise InterruptedError

    def run_first() -> None:
        with pytest.raises(InterruptedError):
            first.run()

    first.watch = stop_when_seen
    thread = threading.Thread(target=run_first)
    thread.start()
    wait_until((job.folder / "checkpoint_latest.pth").exists)
    second = make_queue(comparison)

    def look(queue: LocalQueue) -> None:
        if queue.waiting and queue.waiting[0].note:
            seen.set()

    second.watch = look
    second.run()
    thread.join()
    assert calls(job) == ["fresh", "--c"]


def test_workers_left_behind_are_ended(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, pathlib;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(p.pid))"
    )
    command = [sys.executable, "-m", "nnunet_spine_ext.benchmark.jobs.supervisor", sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.wait(30) == 0
    wait_until(lambda: not lives(int((tmp_path / "pid").read_text())))


def test_environment_of_a_job(tmp_path: Path) -> None:
    plan = make_plan(folds=[0], seeds=(0, 3), loading_processes=0, keep_epochs=(10, 50))
    first, other = make_comparison(tmp_path, plan).jobs
    assert environment_of(first, plan) == {
        "nnUNet_results": str(tmp_path / "results"),
        "NNUNET_SPINE_SEED": "0",
        "nnUNet_n_proc_DA": "0",
        "NNUNET_SPINE_KEEP_EPOCHS": "10,50",
        "OMP_WAIT_POLICY": "passive",
    }
    assert "OMP_WAIT_POLICY" not in environment_of(first, replace(plan, device="cuda"))
    assert environment_of(other, plan)["NNUNET_SPINE_SEED"] == "3"
    assert environment_of(other, plan)["nnUNet_results"] == str(tmp_path / "comparison/seeds/3/nnUNet_results")
    assert other.name.endswith("__fold_0__seed_3")


def test_jobs_of_further_seeds_lie_in_the_comparison(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(folds=[0], seeds=(0, 3)))
    queue = make_queue(comparison, environment=lambda job: environment_of(job, comparison.plan))
    queue.run()
    other: Job = comparison.jobs[1]
    assert other.summary == (
        tmp_path / "comparison/seeds/3/nnUNet_results/Dataset501_Fake/SpineHybridTrainer__nnUNetPlans__3d_fullres"
        "/fold_0/validation/summary.json"
    )
    assert (other.folder / "calls.txt").read_text().split()[3] == "3"


def test_gpus_are_those_that_the_variable_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-ab")
    assert visible_gpus() == ["2", "GPU-ab"]
    assert [slot.gpu for slot in local_slots("cuda", 1)] == ["2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local_slots("cuda", None) == []
    assert local_slots("cpu", None) == [Slot()]
    assert len(local_slots("cpu", 3)) == 3
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    assert visible_gpus() == ["0", "1"]
