"""The progress of running jobs on the terminal and in a log."""

from __future__ import annotations

import io
import json
from pathlib import Path

from nnunet_spine_ext.benchmark.jobs.live import Live
from nnunet_spine_ext.benchmark.jobs.local_queue import LocalQueue, Ticket
from nnunet_spine_ext.benchmark.jobs.retry import Attempts
from tests.benchmark.fake import make_comparison, make_plan, make_queue
from tests.benchmark.fake_training import write_checkpoint

EPOCH = (
    "2026-11-21 08:00:01.1: Epoch {0}\n2026-11-21 08:00:01.1: Pseudo dice [np.float32(0.5), np.float32(0.75)]\n"
    "2026-11-21 08:00:01.1: Epoch time: 30.0 s\n"
)


def queue_with_one_running(root: Path) -> tuple[LocalQueue, Path]:
    queue = make_queue(make_comparison(root, make_plan(folds=[0, 1])))
    first, second = (Ticket(job=job, attempts=Attempts()) for job in queue.jobs)
    queue.running.append(first)
    queue.waiting.append(second)
    fold = first.job.folder
    fold.mkdir(parents=True)
    (fold / "debug.json").write_text(json.dumps({"num_epochs": "10"}))
    (fold / "training_log_1.txt").write_text(EPOCH.format(3))
    return queue, fold


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_terminal_is_drawn_over(tmp_path: Path) -> None:
    queue, fold = queue_with_one_running(tmp_path)
    stream, clock = io.StringIO(), Clock()
    live = Live(stream=stream, redraw=True, every_s=3, clock=clock)
    live(queue)
    first = stream.getvalue()
    assert first == "1 running, 1 waiting\n  SpineHybrid, fold 0: epoch 4 of 10, pseudo Dice 0.625, 3 min left\n"
    live(queue)
    assert stream.getvalue() == first  # too soon
    clock.now_s = 4
    (fold / "training_log_1.txt").write_text(EPOCH.format(4))
    live(queue)
    assert stream.getvalue()[len(first) :].startswith("\x1b[2F\x1b[J1 running, 1 waiting\n")
    assert "epoch 5 of 10" in stream.getvalue()
    queue.running[0].note = "done"
    queue.done.append(queue.running.pop())
    queue.waiting.clear()
    live(queue)
    assert stream.getvalue().endswith("SpineHybrid, fold 0: done\n")


def test_a_file_gets_plain_lines_now_and_then(tmp_path: Path) -> None:
    queue, fold = queue_with_one_running(tmp_path)
    stream, clock = io.StringIO(), Clock()
    live = Live(stream=stream, every_s=3, clock=clock)
    for epoch in range(4, 9):
        (fold / "training_log_1.txt").write_text(EPOCH.format(epoch))
        live(queue)
        clock.now_s += 10
    assert "\x1b" not in stream.getvalue()
    assert [line.split("epoch ")[1][0] for line in stream.getvalue().splitlines()] == ["5", "8"]


def test_failures_and_waits_are_said_once(tmp_path: Path) -> None:
    queue, fold = queue_with_one_running(tmp_path)
    write_checkpoint(fold / "checkpoint_final.pth")
    queue.waiting[0].note = "RuntimeError: a chance failure"
    stream, clock = io.StringIO(), Clock()
    live = Live(stream=stream, redraw=False, every_s=3, clock=clock)
    for _ in range(3):
        live(queue)
        clock.now_s += 100
    assert stream.getvalue().splitlines() == [
        "SpineHybrid, fold 1: waits: RuntimeError: a chance failure",
        "SpineHybrid, fold 0: validating, case 0",
    ]
