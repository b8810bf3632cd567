"""Costs: what a model needs, and what that buys."""

from __future__ import annotations

import math

from nnunet_spine_ext.evaluation.statistics import Summary
from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.blocks import Block, Drawn, Fold, Section, Words
from nnunet_spine_ext.report.charts.figures import Axis, Chart, Line, Panel, Point
from nnunet_spine_ext.report.costs import QUANTITIES, Costs, Quantity
from nnunet_spine_ext.report.sheets import MODEL, Column, Sheet, name_cell

_DRAWN = (
    "parameters",
    "gmac",
    "measured_training_memory_gb",
    "counted_training_memory_gb",
    "training_hours",
    "inference_seconds_per_case",
)
_MOST_PANELS = 6
_FEW_NOTES = 6


def costs_section(analysis: Analysis) -> Section | None:
    """Return the section; None without costs."""
    table = analysis.comparison.costs
    if table is None:
        return None
    costs, named = Costs.of(table), list(dict.fromkeys(table["model"]))
    known = [q for q in QUANTITIES if any(q.key == key for _, key in costs.values)]
    blocks: list[Block] = []
    panels = _panels(analysis, costs)
    if panels:
        blocks.append(
            Drawn(
                key="costs",
                figure=Chart(title="Accuracy against cost", panels=panels),
                caption=(
                    "Mean Dice with its 95 % bootstrap interval; costs on a logarithmic axis. Up and to the left is "
                    "better."
                ),
                keys=True,
            )
        )
    blocks.append(_sheet(analysis, costs, named, known))
    notes = Words(lines=tuple(_notes(costs, named)), bullets=True)
    if notes.lines:
        blocks.append(Fold(heading="What the costs are of", blocks=(notes,), is_open=len(notes.lines) <= _FEW_NOTES))
    return Section(key="costs", title="Costs", blocks=tuple(blocks))


def _panels(analysis: Analysis, costs: Costs) -> tuple[Panel, ...]:
    by_key = {quantity.key: quantity for quantity in QUANTITIES}
    means = [analysis.summary(model, metric=analysis.metric.key) for model in analysis.results.models]
    panels = [
        Panel(
            title=quantity.heading,
            x=Axis(name=quantity.heading, log=True),
            y=Axis(name="mean Dice"),
            lines=tuple(line for mean in means if (line := _point(analysis, costs, mean, quantity))),
        )
        for key in _DRAWN
        if (quantity := by_key[key])
    ]
    return tuple(panel for panel in panels if panel.lines)[:_MOST_PANELS]


def _point(analysis: Analysis, costs: Costs, found: Summary, quantity: Quantity) -> Line | None:
    cost = costs.value(found.model, quantity.key)
    if not cost > 0 or math.isnan(found.mean):
        return None
    point = Point(x=cost * quantity.factor, y=found.mean, low=found.ci_low, high=found.ci_high)
    return Line(name=found.model, colour_index=analysis.index(found.model), points=(point,))


def _sheet(analysis: Analysis, costs: Costs, named: list[str], known: list[Quantity]) -> Sheet:
    models = analysis.results.models
    rows = [
        (
            name_cell(model, model=models.index(model) if model in models else None),
            *(costs.cell(model, quantity) for quantity in known),
        )
        for model in named
    ]
    return Sheet(
        key="costs",
        caption=f"{analysis.results.dataset}: costs of each model",
        columns=(
            MODEL,
            *(Column(key=quantity.key, heading=quantity.heading) for quantity in known),
        ),
        rows=tuple(rows),
    )


def _notes(costs: Costs, named: list[str]) -> list[str]:
    """Return each note once, with the quantities and models that it is about."""
    about: dict[str, dict[str, list[str]]] = {}
    headings = {quantity.key: quantity.heading for quantity in QUANTITIES}
    for (model, key), note in costs.notes.items():
        if note:
            about.setdefault(note, {}).setdefault(headings.get(key, key), []).append(model)
    lines = []
    for note, quantities in about.items():
        told = ", ".join(
            heading if len(set(models)) == len(named) else f"{heading} of {', '.join(models)}"
            for heading, models in quantities.items()
        )
        lines.append(f"{told}: {note}")
    return lines
