"""Low budget: accuracy as training goes on."""

from __future__ import annotations

import pandas as pd

from nnunet_spine_ext.evaluation.metrics import METRICS
from nnunet_spine_ext.report.analysis import RANKED_BY, Analysis
from nnunet_spine_ext.report.blocks import Block, Drawn, Fold, Section, Words
from nnunet_spine_ext.report.charts.figures import Axis, Chart, Panel
from nnunet_spine_ext.report.curves import case_scores, curve_sheet, lines_of
from nnunet_spine_ext.report.numbers import headed

_METRICS = ("dice", "iou", "sensitivity", "specificity", "accuracy", "mse")
"""The six that paper 001 follows along training."""
_PSEUDO_DICE = "pseudo_dice"
"""Of the patches that nnU-Net validates on after each epoch; it has no case."""
_OPENING = (
    "What a model reaches after few epochs. The learning rate falls over the whole training, so an early point is "
    "lower than that of a short training of its own."
)
_CAPTION = (
    "A point is the mean over the validation cases of the folds. nnU-Net's own estimate is of a few patches of each "
    "epoch: compare it only with itself."
)


def budget_section(analysis: Analysis) -> Section | None:
    """Return the section; None without measurements."""
    table = analysis.comparison.budget
    if table is None:
        return None
    figure = Chart(title="Results along training", panels=_panels(analysis, table))
    blocks: list[Block] = [
        Words(lines=(_OPENING,)),
        Drawn(key="budget", figure=figure, caption=_CAPTION, keys=True),
    ]
    metric = METRICS[RANKED_BY]
    scores = case_scores(table, ["epoch"], metric)
    if len(scores):
        numbers = curve_sheet(analysis, scores, ["epoch"], metric, key="budget")
        blocks.append(Fold(heading="Dice in numbers", blocks=(numbers,)))
    return Section(key="budget", title="Low budget", blocks=tuple(blocks))


def _panels(analysis: Analysis, table: pd.DataFrame) -> tuple[Panel, ...]:
    panels = [
        Panel(
            title=headed(metric),
            x=Axis(name="epoch"),
            y=Axis(name=f"mean {metric.title}"),
            lines=lines_of(analysis, case_scores(table, ["epoch"], metric), "epoch"),
        )
        for metric in (METRICS[key] for key in _METRICS)
    ]
    estimates = lines_of(analysis, table[table["metric"] == _PSEUDO_DICE], "epoch")
    panels.append(
        Panel(title="nnU-Net's own estimate", x=Axis(name="epoch"), y=Axis(name="pseudo Dice"), lines=estimates)
    )
    return tuple(panel for panel in panels if panel.lines)
