"""What the reader of a comparison must know before believing it."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_spine_ext.evaluation.sources import Sources
from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.sections.jobs import jobs_cautions

_SYNTHETIC_WORDS = ("phantom", "synthetic", "simulated")


def cautions(analysis: Analysis, sources: Sequence[Sources], *, title: str) -> list[str]:
    """Return the warnings that belong at the top of the report called `title`, gravest first."""
    return [
        *_synthetic(sources, title),
        *analysis.comparison.notes,
        *jobs_cautions(analysis),
        *_different_cases(analysis),
        *analysis.suitability.warnings,
        *_left_out(analysis),
        *_alone(analysis),
    ]


def _synthetic(sources: Sequence[Sources], title: str) -> list[str]:
    told = [title, *(word for source in sources for note in source.notes.items() for word in note)]
    if not any(word in value.lower() for value in told for word in _SYNTHETIC_WORDS):
        return []
    return [
        "These images are a phantom, not patients. The numbers show that the software works; "
        "they are no claim about accuracy, and no reason to prefer a network."
    ]


def _different_cases(analysis: Analysis) -> list[str]:
    results = analysis.results
    counted = {model: len(results.case_means(model=model, metric="dice").dropna()) for model in results.models}
    common = len(analysis.scores.cases)
    if all(number == common for number in counted.values()):
        return []
    numbers = ", ".join(f"{model} {number}" for model, number in counted.items())
    return [
        f"The models do not have the same cases ({numbers}; {common} in common): their means cannot be compared. Ranks "
        "and paired differences are on the cases in common."
    ]


def _left_out(analysis: Analysis) -> list[str]:
    results = analysis.results
    counts = [results.left_out(model=model, metric="dice") for model in results.models]
    left_out, values = sum(n for n, _ in counts), sum(n for _, n in counts)
    if not left_out:
        return []
    return [
        f"{left_out:,} of {values:,} Dice values are left out of all means: the structure is neither in the reference "
        "nor in the prediction of that case. A structure on one side only counts as 0."
    ]


def _alone(analysis: Analysis) -> list[str]:
    return ["Only one model: nothing to compare it with."] if len(analysis.results.models) == 1 else []
