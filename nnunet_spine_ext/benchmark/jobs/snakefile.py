"""A comparison as a Snakefile, for those who have Snakemake; nothing here needs it.

Snakemake deletes what a failed rule has declared as its output. Only `summary.json` is declared, so a training goes on
from its checkpoints: each rule calls `benchmark run --job`, which reads nnU-Net's files like every other run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from nnunet_spine_ext.benchmark.comparison import Comparison
from nnunet_spine_ext.benchmark.jobs.job import Job
from nnunet_spine_ext.benchmark.resolving import resolve
from nnunet_spine_ext.data.files import write_text


def export(folder: Path, output: Path | None = None) -> Path:
    """Write the Snakefile of the comparison in a folder, by default into the folder; return its path.

    Raises:
        DataError: the plan is wrong, or something is missing for it.
    """
    comparison = resolve(folder, slurm=True)
    file = output or comparison.folder / "Snakefile"
    write_text(snakefile_text(comparison), file)
    return file


def snakefile_text(comparison: Comparison) -> str:
    """Return the Snakefile: one rule per model and seed, with the fold as its wildcard."""
    groups: dict[tuple[str, int], list[Job]] = {}
    for job in comparison.jobs:
        groups.setdefault((job.model.folder_name, job.seed), []).append(job)
    rules = [_rule(jobs, comparison) for jobs in groups.values()]
    command = f"nnunet_spine benchmark run {_quoted(comparison.folder)} --collect"
    head = f"""\
# {comparison.dataset}: written by `nnunet_spine benchmark export`.
# snakemake --snakefile THIS_FILE --cores all --resources gpu=1 --keep-going

FOLDS = {list(comparison.plan.folds)}


rule all:
    input:
{_inputs(groups.values())}


# Tables and report, as soon as all is trained.
onsuccess:
    shell({command!r})
"""
    return "\n\n".join([head, *rules])


def _rule(jobs: Sequence[Job], comparison: Comparison) -> str:
    job = jobs[0]
    gpu = 0 if comparison.plan.device == "cpu" else 1
    name = job.name.replace(f"__fold_{job.fold}", "__fold_{wildcards.fold}")
    command = f"nnunet_spine benchmark run {_quoted(comparison.folder)} --job {name}"
    return f"""\
rule {_identifier(job)}:
    output:
        {_output(job)!r}
    wildcard_constraints:
        fold=r"\\d+"
    resources:
        gpu={gpu}
    shell:
        {command!r}
"""


def _inputs(groups: Iterable[Sequence[Job]]) -> str:
    return "\n".join(f"        expand({_output(jobs[0])!r}, fold=FOLDS)," for jobs in groups)


def _output(job: Job) -> str:
    """Return the path of a summary with the fold as a wildcard."""
    summary = str(job.summary).replace("{", "{{").replace("}", "}}")
    return summary.replace(f"/fold_{job.fold}/", "/fold_{fold}/")


def _identifier(job: Job) -> str:
    return re.sub(r"\W", "_", f"{job.model.folder_name}_seed_{job.seed}")


def _quoted(path: object) -> str:
    """Return a path for a shell command in which Snakemake fills in what stands in braces."""
    text = str(path).replace("{", "{{").replace("}", "}}")
    return '"' + re.sub(r'([\\$"`])', r"\\\1", text) + '"'
