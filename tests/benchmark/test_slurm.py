"""Slurm through submitit: its local and debug executors, a time-out with requeue, and the script that sbatch gets."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark.jobs.job import Job
from nnunet_spine_ext.benchmark.jobs.slurm import ClusterJob, JobFailedError, Patience, make_executor, submit
from nnunet_spine_ext.benchmark.jobs.state import State, state_of
from nnunet_spine_ext.benchmark.plan import Plan
from nnunet_spine_ext.data.locks import make_and_share
from nnunet_spine_ext.errors import SetupError
from tests.benchmark.fake import FLAGS, SCRIPT, calls, children, make_comparison, make_plan, make_queue, wait_until
from tests.benchmark.fake_training import write_checkpoint, write_summary

submitit = pytest.importorskip("submitit")

OPTIONS = {
    "timeout_min": 1440,
    "cpus_per_task": 12,
    "mem_gb": 48,
    "gpus_per_node": 1,
    "partition": "gpu",
    "qos": "long",
}


def slow_at_first(job: Job, state: State, plan: Plan) -> list[str]:
    """A training that outlasts its first time slot."""
    how = "slow" if state is State.FRESH else "works"
    return [sys.executable, str(SCRIPT), str(job.folder), FLAGS[state], how]


def quick(job: Job, state: State, plan: Plan) -> list[str]:
    how = "crashes" if job.model.trainer == "Bad" else "works"
    return [sys.executable, str(SCRIPT), str(job.folder), FLAGS[state], how]


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`sbatch`, `srun` and `squeue` that only note what they are asked; returns their folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "sbatch": f"cp $1 {folder}/submitted.sh; echo Submitted batch job 4321",
        "srun": "true",
        "squeue": f"cat {folder}/queued 2>/dev/null; true",
    }
    for name, body in scripts.items():
        file = folder / name
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def flags(script: str) -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", script, re.MULTILINE))


def test_what_sbatch_gets(tmp_path: Path, fake_slurm: Path) -> None:
    plan = make_plan(folds=[0, 1, 2], slurm={**OPTIONS, "array_parallelism": 2})
    comparison = make_comparison(tmp_path, plan)
    write_summary(comparison.jobs[1].summary)
    assert submit(comparison, command=quick) == ["4321_0", "4321_1"]
    script = (fake_slurm / "submitted.sh").read_text()
    assert script.startswith("#!/bin/bash\n")
    asked = flags(script)
    assert {key: asked[key] for key in ("time", "cpus-per-task", "mem", "gpus-per-node", "partition", "qos")} == {
        "time": "1440", "cpus-per-task": "12", "mem": "48GB", "gpus-per-node": "1", "partition": "gpu", "qos": "long",
    }  # fmt: skip
    assert asked["array"] == "0-1%2"
    assert asked["job-name"] == "nnunet_spine"
    assert re.fullmatch(r"USR2@\d+", asked["signal"])  # what calls checkpoint() before the time is up
    assert f"{sys.executable} -u -m submitit.core._submit {comparison.folder / 'slurm'}" in script
    record = json.loads((comparison.folder / "slurm" / "submitted.json").read_text())
    assert record["jobs"] == {comparison.jobs[0].name: "4321_0", comparison.jobs[2].name: "4321_1"}


def test_an_array_that_still_runs_is_not_submitted_again(tmp_path: Path, fake_slurm: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(slurm=OPTIONS))
    submit(comparison, command=quick)
    (fake_slurm / "queued").write_text("4321\n")
    with pytest.raises(SetupError, match="scancel 4321"):
        submit(comparison, command=quick)
    (fake_slurm / "queued").write_text("")
    assert len(submit(comparison, command=quick)) == 2


def test_nothing_is_submitted_when_all_is_done(tmp_path: Path, fake_slurm: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(slurm=OPTIONS))
    for job in comparison.jobs:
        write_summary(job.summary)
    assert submit(comparison, command=quick) == []
    assert not (fake_slurm / "submitted.sh").exists()


def test_an_unknown_option_is_named(tmp_path: Path, fake_slurm: Path) -> None:
    with pytest.raises(SetupError, match="partitoin"):
        make_executor(tmp_path, {"partitoin": "gpu"}, cluster="slurm")
    with pytest.raises(SetupError, match="timeout_min"):
        make_executor(tmp_path, {"timeout_min": "long"}, cluster="slurm")


def test_without_slurm_or_submitit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SetupError, match="sbatch"):
        make_executor(tmp_path, {}, cluster="slurm")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(SetupError, match=r"nnunet_spine_ext\[slurm\]"):
        make_executor(tmp_path, {}, cluster="slurm")


def test_jobs_through_the_debug_executor(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(folds=[0]))
    (job,) = comparison.jobs
    write_checkpoint(job.folder / "checkpoint_final.pth")
    executor = make_executor(comparison.folder / "slurm", {}, cluster="debug")
    call = ClusterJob(job, plan=comparison.plan, folder=comparison.folder, variables={}, command=quick)
    assert executor.submit(call).result() == job.name
    assert calls(job) == ["--val"]


def test_a_failing_job_fails_at_the_cluster_too(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(trainers=["Bad"], folds=[0]))
    call = ClusterJob(
        comparison.jobs[0], plan=comparison.plan, folder=comparison.folder, variables={}, command=quick,
        first_wait_s=0.01,
    )  # fmt: skip
    with pytest.raises(JobFailedError, match="this trainer always crashes"):
        call()


def test_a_job_that_runs_out_of_time_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """submitit's own local cluster, and the signal that Slurm sends before the time is up."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    comparison = make_comparison(tmp_path, make_plan(folds=[0], device="cpu"))
    (job,) = comparison.jobs
    executor = submitit.LocalExecutor(folder=comparison.folder / "slurm", max_num_timeout=3)
    executor.update_parameters(timeout_min=5)
    call = ClusterJob(job, plan=comparison.plan, folder=comparison.folder, variables={}, command=slow_at_first)
    submitted = executor.submit(call)
    wait_until((job.folder / "checkpoint_latest.pth").exists, seconds=60)
    (task,) = children(int(submitted.job_id))
    os.kill(task, signal.SIGUSR2)
    wait_until(submitted.done, seconds=60)
    assert submitted.result() == job.name, submitted.stderr()
    assert calls(job) == ["fresh", "--c"]
    assert state_of(job.folder) is State.DONE
    assert "this job is timed-out" in submitted.stderr()
    assert "Requeued job" in submitted.stdout()


def test_an_allocation_is_given_back_when_another_keeps_the_fold(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(folds=[0]))
    (job,) = comparison.jobs
    lock = make_and_share(job.folder, patience_s=0)
    with pytest.raises(JobFailedError, match="another process trains"):
        make_queue(comparison, watch=Patience(most_s=0.1)).run()
    os.close(lock)
    make_queue(comparison, watch=Patience(most_s=0)).run()
    assert calls(job) == ["fresh"]


def test_a_job_can_be_pickled_while_it_runs(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, make_plan(folds=[0]))
    call = ClusterJob(comparison.jobs[0], plan=comparison.plan, folder=comparison.folder, variables={}, command=quick)
    call()
    again = call.checkpoint()
    file = tmp_path / "again.pkl"
    again.dump(file)
    loaded = submitit.core.utils.DelayedSubmission.load(file)
    assert loaded.function.job == call.job
