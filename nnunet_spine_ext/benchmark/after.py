"""What follows the jobs of a comparison: tables, costs, the curve along training, nnU-Net's choice, the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nnunet_spine_ext.benchmark.collect import collect
from nnunet_spine_ext.benchmark.comparison import Comparison, read_comparison
from nnunet_spine_ext.benchmark.jobs.state import State, state_of
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.errors import SetupError, SpineExtError

Say = Callable[[str], object]


def finish(
    comparison: Comparison, *, find_best: bool = False, processes: int = 2, say: Say = print
) -> tuple[Path | None, tuple[str, ...]]:
    """Evaluate what is done and write tables, costs and report.

    Args:
        comparison: with jobs done.
        find_best: let nnU-Net choose the best model or ensemble, even if the plan does not ask for it.
        processes: cases evaluated at once.
        say: receives what happens.

    Returns:
        The report, None where nothing is done yet; and what was wrong.
    """
    collected = collect(comparison, processes=processes)
    if not collected.tables:
        return None, (*collected.problems, "No job is done, so there is nothing to report yet.")
    problems = [*collected.problems]
    for step in _steps(comparison, find_best=find_best, processes=processes, say=say):
        try:
            step()
        except SpineExtError as error:  # no reason to withhold all the rest
            problems.append(str(error))
    return _report(comparison), tuple(problems)


def _steps(comparison: Comparison, *, find_best: bool, processes: int, say: Say) -> Iterator[Callable[[], object]]:
    """Yield what is measured besides the metrics."""
    yield lambda: _costs(comparison)
    if comparison.plan.keep_epochs:
        yield lambda: _budget_curve(comparison, processes)
    if find_best or comparison.plan.find_best:
        from nnunet_spine_ext.benchmark.best import choose_best

        yield lambda: say(choose_best(comparison, processes=processes))


def measure_robustness(
    folder: Path,
    perturbations: Sequence[str] | None = None,
    *,
    test: bool = False,
    processes: int = 2,
    say: Say = print,
) -> Path:
    """Predict perturbed images with the models of the comparison in a folder, and write its report anew.

    Args:
        folder: of the comparison; models with folds that are not trained are left out.
        perturbations: their names; None for all.
        test: the test images with all folds together, instead of each training case with the fold that left it out.
        processes: cases perturbed and measured at once.
        say: receives which models are left out.

    Returns:
        The report.

    Raises:
        SetupError: the comparison was not begun, or no model is trained.
        SpineExtError: there is no such perturbation, or some predictions failed.
    """
    from nnunet_spine_ext.benchmark.curves.predicting import PredictionOptions
    from nnunet_spine_ext.benchmark.curves.robustness import run_robustness, usual_strengths

    comparison = read_comparison(folder)
    run_robustness(
        _trained(comparison, say),
        comparison.plan.dataset_id,
        comparison.folder,
        strengths=usual_strengths(perturbations),
        subset="test" if test else "validation",
        folds=comparison.plan.folds,
        processes=processes,
        options=PredictionOptions(device=comparison.plan.device),
        results=comparison.results,
    )
    return _report(comparison)


def _trained(comparison: Comparison, say: Say) -> list[Model]:
    """Return the models whose folds of seed 0 are all trained."""
    trained_states = (State.DONE, State.VALIDATE)
    untrained = list(
        dict.fromkeys(j.model for j in comparison.jobs if j.seed == 0 and state_of(j.folder) not in trained_states)
    )
    if untrained:
        say(f"Left out, not all folds being trained: {', '.join(model.title for model in untrained)}.")
    trained = [model for model in comparison.models if model not in untrained]
    if not trained:
        raise SetupError(f"No model of {comparison.folder} is trained. Run it: nnunet_spine benchmark run")
    return trained


def _costs(comparison: Comparison) -> None:
    from nnunet_spine_ext.benchmark.costs.table import write_costs

    plan = comparison.plan
    write_costs(
        comparison.models,
        plan.dataset_id,
        comparison.folder / "costs.csv",
        results=comparison.results,
        device=plan.device,
    )


def _budget_curve(comparison: Comparison, processes: int) -> None:
    from nnunet_spine_ext.benchmark.curves.low_budget import run_low_budget
    from nnunet_spine_ext.benchmark.curves.predicting import PredictionOptions

    plan = comparison.plan
    run_low_budget(
        comparison.models,
        plan.dataset_id,
        comparison.folder,
        folds=plan.folds,
        seeds=plan.seeds,
        processes=processes,
        options=PredictionOptions(device=plan.device),
        results=comparison.results,
    )


def _report(comparison: Comparison) -> Path:
    from nnunet_spine_ext.report.comparison import write_comparison_report

    report: Path = write_comparison_report(comparison.folder)
    return report
