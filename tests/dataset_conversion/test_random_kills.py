"""Kills at random moments of a conversion, each followed by a rerun that ends with the bytes of an undisturbed run.

    NNUNET_SPINE_KILLS=100 pytest -m slow -s tests/dataset_conversion/test_random_kills.py

The kills are shared out among the converters. Some moments are drawn from the time of reading and checking, some from
the time between the first file written and the complete dataset (an undisturbed run of the same command tells first
how long both take), the others from the time after a random case is finished, so that they fall among the cases
however busy the machine is.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.data import chu, lungs, spider, verse
from tests.dataset_conversion.published import files_below, nnunet_spine
from tests.dataset_conversion.test_interruption import challenge, plain_folders

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("NNUNET_SPINE_KILLS", "20"))
READING, WRITING = 0.1, 0.3
"""Shares of the kills whose moments are drawn from all of the reading, and from all of the writing."""
SERIES = [f"{patient}_{sequence}" for patient in range(1, 11) for sequence in ("t1", "t2")]
SCANS = {"01_training": [f"sub-verse{number:03d}" for number in range(1, 25)]}


def _written(write: Callable[[Path], object], name: str, *options: object) -> Callable[[Path], tuple[object, ...]]:
    def arguments(folder: Path) -> tuple[object, ...]:
        write(folder)
        return (name, folder, *options)

    return arguments


CONVERTERS: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "mrspineseg": lambda folder: challenge(folder).arguments,
    "generic": lambda folder: plain_folders(folder).arguments,
    "chu": _written(lambda f: chu.write(f, range(1, 24)), "chu", "--labels", "vertebrae", "--correct-headers"),
    "lung2d": _written(lungs.write_slices, "lung2d", "--pixel-mm", 0.7),
    "lung3d": _written(lambda f: lungs.write_volumes(f, range(1, 25)), "lung3d"),
    "spider": _written(lambda f: spider.write(f, SERIES, overview=False), "spider"),
    "verse": _written(lambda f: verse.write(f, SCANS), "verse"),
}


@dataclass(frozen=True, kw_only=True)
class Times:
    """Of an undisturbed run."""

    to_first_file: float
    to_end: float
    """From the first file to the complete dataset."""
    cases: int


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A conversion in a process of its own, into `root`."""

    arguments: tuple[object, ...]
    root: Path
    processes: int
    temporary: Path

    @property
    def command(self) -> list[str]:
        more = ("-d", 501, "-o", self.root, "-np", self.processes)
        return ["convert", *(str(argument) for argument in (*self.arguments, *more))]

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "nnunet_spine_ext", *self.command],
            cwd=REPOSITORY,
            env={**os.environ, "TMPDIR": str(self.temporary)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait(self, process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while process.poll() is None and not reached():
            assert time.monotonic() < deadline
            time.sleep(0.0005)

    def has_file(self) -> bool:
        return any(files for _, _, files in os.walk(self.root))

    def finished(self) -> int:
        return len(list(self.root.glob(".*.partial/records/*.json")))

    def times(self) -> Times:
        start, process = time.monotonic(), self.start()
        self.wait(process, self.has_file)
        first = time.monotonic()
        self.wait(process, lambda: any(self.root.glob("Dataset*")))
        end = time.monotonic()
        assert process.wait(timeout=120) == 0
        cases = len(list(self.root.glob("*/images*/*")))
        return Times(to_first_file=first - start, to_end=end - first, cases=cases)

    def kill(self, times: Times, draw: random.Random) -> bool:
        """Kill a run, and nothing but it, at a random moment; return whether it was still running."""
        process, kind = self.start(), draw.random()
        if kind < READING:
            time.sleep(draw.uniform(0.5, 1) * times.to_first_file)
        elif kind < READING + WRITING:
            self.wait(process, self.has_file)
            time.sleep(draw.uniform(0, 1) * times.to_end)
        else:
            done = draw.randrange(times.cases)
            self.wait(process, lambda: self.has_file() and self.finished() >= done)
            time.sleep(draw.uniform(0, 2) * times.to_end / times.cases)
        process.send_signal(signal.SIGKILL)
        code = process.wait()
        assert code in (0, -signal.SIGKILL)
        return code != 0


def share(name: str) -> int:
    """Return how many of the kills fall on a converter."""
    return len(range(list(CONVERTERS).index(name), KILLS, len(CONVERTERS)))


def left_by(root: Path) -> str:
    """Return what a killed run left."""
    names = sorted(path.name for path in root.iterdir()) if root.exists() else []
    finished = len(list(root.glob(".*.partial/records/*.json")))
    if any(not name.startswith(".") for name in names):
        return "a complete dataset"
    return f"{finished:2d} finished cases" if names else "nothing"


@pytest.mark.parametrize("name", CONVERTERS)
def test_a_rerun_after_a_kill_ends_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    arguments = CONVERTERS[name](tmp_path / "download")
    temporary, root, draw = tmp_path / "temporary", tmp_path / "raw", random.Random(f"{name} {KILLS}")
    temporary.mkdir()
    undisturbed, times = {}, {}
    for processes in (1, 2):
        conversion = Conversion(arguments=arguments, root=root, processes=processes, temporary=temporary)
        times[processes] = conversion.times()
        undisturbed[processes] = files_below(root)
        shutil.rmtree(root)
    assert undisturbed[1] == undisturbed[2]
    kills, left, attempts = 0, [], 0
    while kills < share(name):
        attempts += 1
        assert attempts <= 3 * share(name), "most kills came too late"
        processes = 1 + attempts % 2
        conversion = Conversion(arguments=arguments, root=root, processes=processes, temporary=temporary)
        if conversion.kill(times[processes], draw):
            kills += 1
            left.append(left_by(root))
            complete = left[-1] == "a complete dataset"
            ended = nnunet_spine(*conversion.command)
            # Killed after its last rename: the dataset is there, and a rerun says so.
            assert ended.code == (1 if complete else 0), ended.error
            assert files_below(root) == undisturbed[1]
            assert [path.name.startswith("Dataset501_") for path in root.iterdir()] == [True]
            assert not list(temporary.iterdir())
        shutil.rmtree(root)
    counted = ", ".join(f"{left.count(what)} x {what}" for what in sorted(set(left)))
    print(f"\n{name}: {kills} kills, {attempts - kills} too late to be one; they left {counted}")
