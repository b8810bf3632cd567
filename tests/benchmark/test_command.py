"""`nnunet_spine benchmark`: the commands as a user types them, with scripts instead of trainings."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark import after, run
from nnunet_spine_ext.benchmark.comparison import Comparison
from nnunet_spine_ext.benchmark.jobs.job import Job
from nnunet_spine_ext.benchmark.jobs.retry import Attempts
from nnunet_spine_ext.benchmark.jobs.state import State
from nnunet_spine_ext.benchmark.plan import Plan
from nnunet_spine_ext.benchmark.yaml_plan import read_plan
from nnunet_spine_ext.cli import main
from nnunet_spine_ext.data.locks import make_and_share
from nnunet_spine_ext.paths import nnunet_folder
from tests.benchmark.fake import DATASET, FLAGS, SCRIPT, wait_until
from tests.benchmark.fake_dataset import FOLDS, write_dataset
from tests.conftest import NnunetFolders

REPOSITORY = Path(__file__).parents[2]
GOOD, BAD = "SpineHybridTrainer", "SpineUNetPPTrainer"


real_report = after._report


def fake_training(job: Job, state: State, plan: Plan) -> list[str]:
    how = f"copies {nnunet_folder('nnUNet_raw') / DATASET / 'labelsTr'} {' '.join(FOLDS[job.fold])}"
    if job.model.trainer == BAD:
        how = "crashes"
    if os.environ.get("SLOW"):
        how = "slow"
    return [sys.executable, str(SCRIPT), str(job.folder), FLAGS[state], how]


@pytest.fixture
def folder(nnunet_folders: NnunetFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A comparison on a tiny dataset, planned by `init`."""
    write_dataset(nnunet_folders)
    monkeypatch.setattr(run, "training_command", fake_training)
    monkeypatch.setattr(run, "Attempts", lambda: Attempts(first_wait_s=0.01))
    monkeypatch.setattr(after, "_costs", lambda _: None)  # counts real networks
    monkeypatch.setattr(after, "_report", stub_report)
    folder = tmp_path / "comparison"
    assert command("init", "-d", "501", "-tr", GOOD, BAD, "-f", "0", "1", "-device", "cpu", "-o", str(folder)) == 0
    return folder


def stub_report(comparison: Comparison) -> Path:
    """The real page takes seconds."""
    page = comparison.folder / "report.html"
    page.touch()
    return page


def command(*arguments: str) -> int:
    """Call the command in this process; return its exit code."""
    before, sys.argv = sys.argv, ["nnunet_spine", "benchmark", *arguments]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def test_init_takes_several_values_after_one_flag(tmp_path: Path) -> None:
    arguments = [
        "-d",
        "501",
        "-tr",
        "SpineHybridTrainer",
        "SpineUNetPPTrainer",
        "-c",
        "2d",
        "3d_fullres",
        "-f",
        "0",
        "2",
    ]
    more = ["--seeds", "0", "1", "--epochs", "100", "-gpu_memory_target", "24", "--without-baseline"]
    assert command("init", *arguments, *more, "-o", str(tmp_path / "new")) == 0
    plan = read_plan(tmp_path / "new" / "benchmark.yaml")
    assert [entry.trainer for entry in plan.entries] == ["SpineHybridTrainer", "SpineUNetPPTrainer"]
    assert (plan.entries[0].configurations, plan.folds, plan.seeds) == (("2d", "3d_fullres"), (0, 2), (0, 1))
    assert (plan.epochs, plan.gpu_memory_target_gb, plan.with_baseline) == (100, 24, False)


def test_init_refuses_what_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("init", "-d", "501", "-tr", "SpineHybridTrainr", "-o", str(tmp_path / "new")) == 1
    assert "Did you mean SpineHybridTrainer?" in capsys.readouterr().err
    assert command("init", "-d", "501") == 2


def test_a_run_evaluates_what_is_done_reports_what_failed_and_ends_with_1(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after, "_report", real_report)
    assert command("run", str(folder), "--without-baseline", "-np", "1") == 1
    said = capsys.readouterr().out
    assert "SpineUNetPP, fold 1 failed" in said
    assert "RuntimeError: this trainer always crashes" in said
    assert f"Open {folder / 'report.html'} in a browser." in said
    with (folder / "jobs.csv").open(newline="") as file:
        states = [(row["model"], row["state"]) for row in csv.DictReader(file)]
    assert states == [("SpineHybrid", "done")] * 2 + [("SpineUNetPP", "failed")] * 2
    with (folder / "metrics.csv").open(newline="") as file:
        dice = [float(row["value"]) for row in csv.DictReader(file) if (row["metric"], row["label"]) == ("dice", "L5")]
    assert dice == [1.0] * 4
    page = (folder / "report.html").read_text()
    assert "this trainer always crashes" in page
    assert "Stock nnU-Net was left out (--without-baseline)" in page


def test_status_and_export_of_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("status", str(folder)) == 1
    assert "was not begun yet" in capsys.readouterr().err
    command("run", str(folder), "--without-baseline", "-np", "1")
    capsys.readouterr()
    assert command("status", str(folder), "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["jobs"]) == 4
    file = folder / "benchmark.yaml"
    file.write_text(file.read_text().replace("baseline: auto", "baseline: none"))
    assert command("export", str(folder)) == 0
    assert (folder / "Snakefile").read_text().count("\nrule ") == 3


def test_single_jobs_and_collecting(folder: Path, nnunet_folders: NnunetFolders) -> None:
    file = folder / "benchmark.yaml"
    file.write_text(file.read_text().replace("baseline: auto", "baseline: none"))
    name = f"{GOOD}__nnUNetPlans__3d_fullres__fold_1"
    assert command("run", str(folder), "--job", name) == 0
    fold = nnunet_folders.results / DATASET / f"{GOOD}__nnUNetPlans__3d_fullres"
    assert (fold / "fold_1" / "calls.txt").exists()
    assert not (fold / "fold_0").exists()
    assert not (folder / "metrics.csv").exists()
    assert command("run", str(folder), "--job", "nothing") == 1
    assert command("run", str(folder), "--collect", "-np", "1") == 0
    assert (folder / "report.html").exists()
    assert not (fold / "fold_0").exists()


def test_nothing_to_report_is_a_finding(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("run", str(folder), "--collect", "--without-baseline") == 1
    assert "No job is done" in capsys.readouterr().out


def test_a_second_run_is_refused_while_the_first_lives(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = make_and_share(folder / "logs", patience_s=0)
    assert command("run", str(folder), "--without-baseline") == 1
    assert "is being run already" in capsys.readouterr().err
    os.close(lock)
    assert command("run", str(folder), "--without-baseline", "--collect") == 1
    assert "is being run already" not in capsys.readouterr().err


DRIVER = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that run in the background inherit a deaf ear
from nnunet_spine_ext.benchmark import run
from nnunet_spine_ext.cli import main
from tests.benchmark.test_command import fake_training
run.training_command = fake_training
main()
"""


def driven(arguments: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRIVER, "benchmark", *arguments]
    return subprocess.Popen(
        command, env={**os.environ, **environment}, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE
    )


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(folder: Path, nnunet_folders: NnunetFolders) -> None:
    fold = nnunet_folders.results / DATASET / f"{GOOD}__nnUNetPlans__3d_fullres" / "fold_0"
    with driven(["run", str(folder), "--without-baseline"], SLOW="1") as process:
        wait_until((fold / "checkpoint_latest.pth").exists)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "nothing is lost" in said
    assert command("run", str(folder), "--without-baseline", "-np", "1") == 1  # the crashing one
    assert (fold / "calls.txt").read_text().split()[0] == "fresh"
    assert [line.split()[0] for line in (fold / "calls.txt").read_text().splitlines()] == ["fresh", "--c"]
