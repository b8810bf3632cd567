"""What the reader of a comparison must know before believing it."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_spine_ext.evaluation.sources import Sources
from nnunet_spine_ext.report.results import Results

FEWEST_CASES = 50
"""Below it, the interval around a mean Dice is wide (El Jurdi et al., arXiv 2307.10926)."""
_SYNTHETIC_WORDS = ("phantom", "synthetic", "simulated")


def cautions(results: Results, sources: Sequence[Sources], *, title: str) -> list[str]:
    """Return the warnings that belong at the top of the report called `title`, gravest first."""
    return [
        *_synthetic(sources, title),
        *_few_cases(results),
        *_different_cases(results),
        *_left_out(results),
        *_alone(results),
    ]


def _synthetic(sources: Sequence[Sources], title: str) -> list[str]:
    told = [title, *(word for source in sources for note in source.notes.items() for word in note)]
    if not any(word in value.lower() for value in told for word in _SYNTHETIC_WORDS):
        return []
    return [
        "These images are a phantom, not patients. The numbers show that the software works; "
        "they are no claim about accuracy, and no reason to prefer a network."
    ]


def _few_cases(results: Results) -> list[str]:
    number = len(results.cases)
    if number >= FEWEST_CASES:
        return []
    cases = "1 case" if number == 1 else f"{number} cases"
    return [f"Only {cases}: below {FEWEST_CASES}, a small difference of means may well be chance."]


def _different_cases(results: Results) -> list[str]:
    counted = {model: set(results.case_means(model=model, metric="dice").index) for model in results.models}
    common = set.intersection(*counted.values())
    if all(cases == common for cases in counted.values()):
        return []
    numbers = ", ".join(f"{model} {len(cases)}" for model, cases in counted.items())
    return [
        f"The models were not evaluated on the same cases ({numbers}; {len(common)} in common): "
        "their means cannot be compared, only the paired differences can."
    ]


def _left_out(results: Results) -> list[str]:
    counts = [results.left_out(model=model, metric="dice") for model in results.models]
    left_out, values = sum(n for n, _ in counts), sum(n for _, n in counts)
    if not left_out:
        return []
    return [
        f"{left_out:,} of {values:,} Dice values are left out of all means: the structure is neither in the reference "
        "nor in the prediction of that case. A structure on one side only counts as 0."
    ]


def _alone(results: Results) -> list[str]:
    return ["Only one model: nothing to compare it with."] if len(results.models) == 1 else []
