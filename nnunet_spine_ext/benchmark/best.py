"""Let nnU-Net choose the best model or ensemble, and its post-processing, among the models of a comparison.

`python -m nnunet_spine_ext.benchmark.best REQUEST.json ANSWER.json` runs nnU-Net's own `find_best_configuration`, whose
command can only combine every trainer with every plan; its worker processes and settings end with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_spine_ext.benchmark.apart import NoAnswerError, answer_question, ask
from nnunet_spine_ext.benchmark.comparison import Comparison, write_facts
from nnunet_spine_ext.benchmark.jobs.job import Job
from nnunet_spine_ext.benchmark.jobs.process import telling_lines
from nnunet_spine_ext.benchmark.jobs.state import State, state_of
from nnunet_spine_ext.data.files import read_json

ABSENT_STRUCTURE = (
    "nnU-Net cannot choose post-processing here: a structure occurs in no validation case (its averaging raises "
    "IndexError). Merge or remove that structure, or leave find_best out."
)


def choose_best(comparison: Comparison, *, processes: int = 2) -> str:
    """Run nnU-Net's choice, write it into `comparison.json`, and return what it chose, or why it could not, in words.

    Args:
        comparison: whose models with all folds of seed 0 done are considered.
        processes: of nnU-Net.
    """
    best = _ask(comparison, processes=processes)
    write_facts(comparison, best=best)
    return " ".join(best["notes"])


def _ask(comparison: Comparison, *, processes: int) -> dict[str, Any]:
    jobs = [job for job in comparison.jobs if job.seed == 0]
    unfinished = {job.model.title for job in jobs if state_of(job.folder) is not State.DONE}
    models = [model for model in comparison.models if model.title not in unfinished]
    if not models or not jobs:
        return {"notes": ["nnU-Net's choice of the best model: no model has all its folds (of seed 0) done."]}
    considered = [job for job in jobs if job.model in models]
    bare = without_probabilities(considered)
    request = {
        "dataset": comparison.dataset,
        "models": [{"trainer": m.trainer, "plans": m.plans, "configuration": m.configuration} for m in models],
        "folds": list(comparison.plan.folds),
        "ensembles": not bare,
        "processes": processes,
    }
    answer = _in_a_process(comparison.folder, request)
    left_out = [f"Left out, for want of finished folds: {', '.join(sorted(unfinished))}."] if unfinished else []
    single = (
        [f"No ensembles: {bare[0]} has no probabilities (nnUNetv2_train … --val --npz writes them)."] if bare else []
    )
    if "problem" in answer:
        return {"notes": [answer["problem"], *left_out]}
    titles = {(m.trainer, m.plans, m.configuration): m.title for m in models}
    chosen = [titles[m["trainer"], m["plans"], m["configuration"]] for m in answer["chosen"]]
    words = (
        f"nnU-Net's own choice (find_best_configuration): {' with '.join(chosen)}, mean foreground Dice "
        f"{answer['dice']:.4f}, after its post-processing {answer['dice_postprocessed']:.4f}."
    )
    return {"notes": [" ".join([words, *single, *left_out])], **answer, "titles": chosen}


def without_probabilities(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs whose validation kept no probabilities, without which nnU-Net builds no ensemble."""
    bare = []
    for job in jobs:
        cases = [case["prediction_file"] for case in read_json(job.summary)["metric_per_case"]]
        names = [Path(case).name.split(".")[0] for case in cases]
        if not all((job.validation / f"{name}.npz").is_file() for name in names):
            bare.append(job)
    return bare


def _in_a_process(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    files = folder / "logs" / "find_best"
    files.parent.mkdir(parents=True, exist_ok=True)
    try:
        return ask(__name__, request, files=files)
    except NoAnswerError as error:
        said = telling_lines(error.said)
        return {"problem": f"nnU-Net's choice of the best model failed (see {error.log}): {said}"}


def _choose(request: dict[str, Any]) -> dict[str, Any]:
    from nnunetv2.evaluation.find_best_configuration import find_best_configuration

    try:
        found = find_best_configuration(
            request["dataset"],
            tuple(request["models"]),
            allow_ensembling=request["ensembles"],
            num_processes=request["processes"],
            folds=tuple(request["folds"]),
        )
    except IndexError:
        return {"problem": ABSENT_STRUCTURE}
    best = found["best_model_or_ensemble"]
    return {
        "chosen": [
            {"trainer": m["trainer"], "plans": m["plans_identifier"], "configuration": m["configuration"]}
            for m in best["selected_model_or_models"]
        ],
        "dice": best["result_on_crossval_pre_pp"],
        "dice_postprocessed": best["result_on_crossval_post_pp"],
        "all_results": found["all_results"],
    }


if __name__ == "__main__":
    answer_question(_choose)
