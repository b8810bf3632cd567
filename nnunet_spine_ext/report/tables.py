"""The means of each structure and model, for a terminal."""

from __future__ import annotations

from nnunet_spine_ext.evaluation.metrics import METRICS
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES
from nnunet_spine_ext.report.numbers import shown, with_sd
from nnunet_spine_ext.report.results import Results, Spread

_COLUMNS = ("dice", "iou", "sensitivity", "ppv")


def as_text(results: Results) -> str:
    """Return the means per structure and model for a terminal."""
    lines = []
    for model in results.models:
        heads = "".join(f"{METRICS[key].title:>18}" for key in _COLUMNS)
        lines += [f"{model}, {results.dataset}", f"  {'':20}{heads}{'n':>6}"]
        lines += [f"  {label:20}{_line(results, model, label, _COLUMNS)}" for label in results.labels]
        score = Spread.of(results.values(model=model, label=ALL_STRUCTURES, metric="challenge_dice"))
        lines.append(f"  {'challenge score':20}{_text(score, 'challenge_dice'):>18}{'':54}{score.n:>6}")
    return "\n".join(lines)


def _line(results: Results, model: str, label: str, keys: tuple[str, ...]) -> str:
    spreads = [Spread.of(results.values(model=model, label=label, metric=key)) for key in keys]
    texts = "".join(f"{_text(spread, key):>18}" for spread, key in zip(spreads, keys, strict=True))
    return f"{texts}{spreads[0].n:>6}"


def _text(spread: Spread, key: str) -> str:
    metric = METRICS[key]
    return f"{shown(spread.mean, metric)} {with_sd(spread.sd, metric)}".strip()
