"""Robustness: accuracy as images get worse."""

from __future__ import annotations

import pandas as pd

from nnunet_spine_ext.evaluation.metrics import METRICS
from nnunet_spine_ext.evaluation.perturbation_facts import PERTURBATION_FACTS
from nnunet_spine_ext.report.analysis import RANKED_BY, Analysis
from nnunet_spine_ext.report.blocks import Drawn, Fold, Section, Words
from nnunet_spine_ext.report.charts.figures import Axis, Chart, Panel
from nnunet_spine_ext.report.curves import case_scores, curve_sheet, lines_of

_FACTS = {one.key: one for one in PERTURBATION_FACTS}
_STEPS = ["perturbation", "strength"]
_OPENING = (
    "Mean Dice of trained models on images made worse, by kind and strength. Nothing was trained on such images unless "
    "a model's augmentation does."
)


def robustness_section(analysis: Analysis) -> Section | None:
    """Return the section; None without measurements."""
    table = analysis.comparison.robustness
    if table is None:
        return None
    metric = METRICS[RANKED_BY]
    scores = case_scores(table, _STEPS, metric)
    known = [name for name in _FACTS if (table["perturbation"] == name).any()]
    names = [*known, *sorted(set(table["perturbation"]) - set(known))]
    numbers = curve_sheet(analysis, scores, _STEPS, metric, key="robustness")
    return Section(
        key="robustness",
        title="Robustness",
        blocks=(
            Words(lines=(_OPENING,)),
            Drawn(
                key="robustness",
                figure=Chart(title="Dice on worse images", panels=_panels(analysis, scores, names)),
                caption="A point is the mean over cases; the first of each line is that of the images as they are.",
                keys=True,
            ),
            Words(lines=tuple(f"{_FACTS[name].title}: {_FACTS[name].definition}." for name in known), bullets=True),
            Fold(heading="The same in numbers", blocks=(numbers,)),
        ),
    )


def _panels(analysis: Analysis, scores: pd.DataFrame, names: list[str]) -> tuple[Panel, ...]:
    panels = [
        Panel(
            title=_FACTS[name].title if name in _FACTS else name,
            x=Axis(name=_FACTS[name].unit if name in _FACTS else "strength"),
            y=Axis(name="mean Dice"),
            lines=lines_of(analysis, scores[scores["perturbation"] == name], "strength"),
        )
        for name in names
    ]
    return tuple(panel for panel in panels if panel.lines)
