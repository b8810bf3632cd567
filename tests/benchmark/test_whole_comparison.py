"""A whole comparison on a phantom with real trainings, on a CPU: undisturbed, and killed twenty times.

Half an hour of CPU: run with `python -m pytest -m slow tests/benchmark/test_whole_comparison.py`.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark.comparison import Comparison, read_comparison
from nnunet_spine_ext.benchmark.jobs.status import status_of
from nnunet_spine_ext.benchmark.records import read_record
from nnunet_spine_ext.paths import trainers_dir
from nnunet_spine_ext.report.comparison import write_comparison_report
from tests.benchmark.fake import children, wait_until

pytestmark = pytest.mark.slow

DATASET = "501"
BUDGET = "_1epochs_2iterations"
TRAINERS = ("SpineHybridTrainer", "SpineUNetPPTrainer", "SpineASPPUNetTrainer")
KILLS = 20

CRASHING = """
from nnunet_spine_ext.training.trainer import SpineTrainer
from nnunet_spine_ext.training.variants import epoch_variants

class AlwaysCrashesTrainer(SpineTrainer):
    def initialize(self) -> None:
        raise RuntimeError("this trainer always crashes")

__getattr__ = epoch_variants(globals())
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """nnU-Net's raw and preprocessed data, shared, and results and a comparison of one's own."""

    data: Path
    root: Path

    @property
    def comparison(self) -> Path:
        return self.root / "comparison"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "nnUNet_raw": str(self.data / "nnUNet_raw"),
            "nnUNet_preprocessed": str(self.data / "nnUNet_preprocessed"),
            "nnUNet_results": str(self.root / "nnUNet_results"),
            "nnUNet_compile": "f",
            "nnUNet_def_n_proc": "1",
            "OMP_WAIT_POLICY": "passive",
        }

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        executable = Path(sys.executable).parent / command[0]
        self.root.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [str(executable), *command[1:]],
            env={**self.environment, **environment},
            cwd=self.root,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *command: str, code: int = 0, **environment: str) -> str:
        process = self.start(*command, **environment)
        output, _ = process.communicate(timeout=7200)
        assert process.returncode == code, f"{' '.join(command)}\n{output[-6000:]}"
        return output

    def plan(self, trainers: tuple[str, ...] = TRAINERS, *, more: str = "") -> None:
        self.comparison.mkdir(parents=True)
        (self.comparison / "benchmark.yaml").write_text(
            f"dataset: {DATASET}\ntrainers: [{', '.join(trainers)}]\nepochs: 1\niterations: 2\ndevice: cpu\n"
            f"loading_processes: 0\njobs_at_once: 2\ngpu_memory_target: 8\n{more}"
        )

    def read(self) -> Comparison:
        return read_comparison(self.comparison)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted, planned and preprocessed phantom of ten cases."""
    place = Place(data=tmp_path_factory.mktemp("phantom"), root=tmp_path_factory.mktemp("preparation"))
    for name in ("raw", "preprocessed"):
        (place.data / f"nnUNet_{name}").mkdir()
    small = {"nnUNet_n_proc_DA": "1"}
    place.run("nnunet_spine", "phantom", "phantom", "--cases", "10", "--size", "96", "--slices", "8", **small)
    place.run("nnunet_spine", "convert", "mrspineseg", "phantom", "-d", DATASET, "--labels", "paper004", **small)
    configurations = ("-c", "3d_fullres", "-np", "2", "-npfp", "2")
    place.run("nnUNetv2_plan_and_preprocess", "-d", DATASET, *configurations, **small)
    return place.data


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A complete run; fold 0 of the first model was trained by hand before."""
    place = Place(data=data, root=tmp_path_factory.mktemp("undisturbed"))
    place.plan()
    by_hand = {"NNUNET_SPINE_SEED": "0", "nnUNet_n_proc_DA": "0", "nnUNet_extTrainer": str(trainers_dir())}
    model = ("-tr", TRAINERS[0] + BUDGET, "-p", "nnUNetPlans", "-device", "cpu")
    begin = time.monotonic()
    place.run("nnUNetv2_train", DATASET, "3d_fullres", "0", *model, **by_hand)
    (place.root / "seconds_of_a_job").write_text(str(time.monotonic() - begin))
    place.run("nnunet_spine", "benchmark", "run", str(place.comparison))
    return place


def test_a_complete_run_has_every_case_of_every_model_and_a_baseline(undisturbed: Place) -> None:
    comparison = undisturbed.read()
    assert [model.title for model in comparison.models[:3]] == ["SpineHybrid", "SpineUNetPP", "SpineASPPUNet"]
    stock = [model for model in comparison.models if model.baseline]
    assert stock
    assert {model.trainer for model in stock} == {"SpineBaselineTrainer" + BUDGET}
    assert {row.state for row in status_of(comparison)} == {"done"}
    with (comparison.folder / "metrics.csv").open(newline="") as file:
        cases = {(row["model"], row["case"]) for row in csv.DictReader(file)}
    assert len(cases) == 10 * len(comparison.models)
    facts = json.loads((comparison.folder / "comparison.json").read_text())
    page = (comparison.folder / "report.html").read_text()
    assert facts["baseline"] in page
    for name in ("confusion.csv", "costs.csv", "jobs.csv"):
        assert (comparison.folder / name).stat().st_size > 100, name


def test_a_fold_trained_by_hand_is_taken_over(undisturbed: Place) -> None:
    comparison = undisturbed.read()
    job = next(job for job in comparison.jobs if job.fold == 0 and job.model.trainer == TRAINERS[0] + BUDGET)
    assert read_record(comparison.folder, job.name) is None  # the queue never touched it
    assert len(list(job.folder.glob("training_log_*.txt"))) == 1
    with (comparison.folder / "metrics.csv").open(newline="") as file:
        assert any(row["model"] == job.model.title and row["fold"] == "0" for row in csv.DictReader(file))


def test_twenty_kills_change_nothing(undisturbed: Place, data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = Place(data=data, root=tmp_path_factory.mktemp("killed"))
    place.plan()
    draw = random.Random(20)
    longest = 1.2 * float((undisturbed.root / "seconds_of_a_job").read_text())
    for _ in range(KILLS):
        process = place.start("nnunet_spine", "benchmark", "run", str(place.comparison))
        wait_until(lambda p=process: p.poll() is not None or children(p.pid), seconds=900)  # until jobs run
        time.sleep(draw.uniform(0, longest))
        assert process.poll() is None, f"it ended before it was killed:\n{process.communicate()[0][-3000:]}"
        process.send_signal(draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        process.communicate(timeout=60)
    place.run("nnunet_spine", "benchmark", "run", str(place.comparison))
    flags: set[str] = set()
    for log in (place.comparison / "logs").glob("*.txt"):
        flags |= set(re.findall(r"^\$ .*?(--c|--val)?(?: --npz)?$", log.read_text(), re.MULTILINE))
    assert flags >= {"", "--c"} or flags >= {"", "--val"}, flags  # some kill fell into a training
    assert_same(undisturbed, place)


def assert_same(one: Place, other: Place) -> None:
    """Metrics, confusions, jobs and, dates and measured times aside, the report are the same to the byte."""
    for name in ("metrics.csv", "confusion.csv", "jobs.csv"):
        assert (one.comparison / name).read_bytes() == (other.comparison / name).read_bytes(), name
    for name in ("costs.csv", "environment.json"):  # measured: seconds and hours differ from run to run
        shutil.copy(one.comparison / name, other.comparison / name)
    pages = [write_comparison_report(place.comparison).read_text() for place in (one, other)]
    assert without_dates(pages[0]) == without_dates(pages[1])
    tables = [files_of(place.comparison / "tables") for place in (one, other)]
    assert tables[0]
    assert tables[0] == tables[1]


def without_dates(page: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?", "DATE", page)


def files_of(folder: Path) -> Mapping[str, str]:
    return {file.name: without_dates(file.read_text()) for file in sorted(folder.glob("*"))}


@pytest.fixture
def second(undisturbed: Place, tmp_path: Path) -> Place:
    """Another comparison that finds the trainings of the first done."""
    place = Place(data=undisturbed.data, root=tmp_path)
    (tmp_path / "nnUNet_results").symlink_to(undisturbed.root / "nnUNet_results")
    return place


def test_a_trainer_that_always_crashes_is_reported_and_stops_nothing(second: Place) -> None:
    mine = second.root / "mine"
    mine.mkdir()
    (mine / "crashing.py").write_text(CRASHING)
    second.plan(("AlwaysCrashesTrainer", TRAINERS[0]), more="folds: [0]\nbaseline: none\n")
    run = ("nnunet_spine", "benchmark", "run", str(second.comparison))
    output = second.run(*run, code=1, nnUNet_extTrainer=str(mine))
    assert "AlwaysCrashes, fold 0 failed" in output
    assert "RuntimeError: this trainer always crashes" in output
    with (second.comparison / "jobs.csv").open(newline="") as file:
        states = {row["model"]: (row["state"], row["message"]) for row in csv.DictReader(file)}
    assert states["SpineHybrid"] == ("done", "")
    assert states["AlwaysCrashes"][0] == "failed"
    page = (second.comparison / "report.html").read_text()
    assert "this trainer always crashes" in page
    assert "SpineHybrid" in page


def test_nnunet_chooses_among_our_trainers(second: Place) -> None:
    second.plan(TRAINERS[:2], more="baseline: none\n")
    begin = time.time()
    second.run("nnunet_spine", "benchmark", "run", str(second.comparison), "--find-best")
    best = json.loads((second.comparison / "comparison.json").read_text())["best"]
    assert "problem" in best or best["titles"][0] in ("SpineHybrid", "SpineUNetPP")
    assert (second.comparison / "logs" / "find_best.txt").stat().st_mtime >= begin
    (said,) = [note for note in best["notes"] if "nnU-Net" in note]
    assert said in (second.comparison / "report.html").read_text().replace("&#39;", "'")
