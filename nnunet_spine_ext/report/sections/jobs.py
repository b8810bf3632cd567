"""Jobs: what ran, and what failed."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.blocks import Block, Fold, Section, Words
from nnunet_spine_ext.report.sheets import Cell, Column, Sheet, name_cell

DONE = "done"
_NUMERIC = frozenset({"fold", "seed", "epoch", "epochs", "tries", "seconds", "hours"})


def jobs_section(analysis: Analysis) -> Section | None:
    """Return the section; None without a table of jobs."""
    table = analysis.comparison.jobs
    if table is None:
        return None
    states = Counter(table["state"])
    counted = ", ".join(f"{number} {state}" for state, number in states.most_common())
    blocks: list[Block] = [Words(lines=(f"{len(table)} jobs: {counted}.",))]
    unfinished = table[table["state"] != DONE]
    if len(unfinished):
        blocks.append(_sheet(analysis, unfinished, key="jobs_unfinished", what="not done"))
    everything = _sheet(analysis, table, key="jobs", what="all")
    blocks.append(Fold(heading="All jobs", blocks=(everything,)))
    return Section(key="jobs", title="Jobs", blocks=tuple(blocks))


def jobs_cautions(analysis: Analysis) -> list[str]:
    """Return the models of which nothing, or not everything, was finished."""
    table = analysis.comparison.jobs
    if table is None:
        return []
    told = []
    for model in dict.fromkeys(table["model"]):
        states = table.loc[table["model"] == model, "state"]
        done = int((states == DONE).sum())
        if done < len(states):
            others = ", ".join(f"{n} {state}" for state, n in Counter(states[states != DONE]).most_common())
            left_out = " It is in no table of results." if model not in analysis.results.models else ""
            told.append(f"{model}: {done} of {len(states)} jobs are done ({others}).{left_out}")
    return told


def _sheet(analysis: Analysis, table: pd.DataFrame, *, key: str, what: str) -> Sheet:
    models, columns = analysis.results.models, [str(name) for name in table.columns]
    return Sheet(
        key=key,
        caption=f"{analysis.results.dataset}: jobs, {what}",
        columns=tuple(
            Column(key=name, heading=name.capitalize().replace("_", " "), numeric=name in _NUMERIC) for name in columns
        ),
        rows=tuple(
            tuple(_cell(name, str(value), models) for name, value in zip(columns, row, strict=True))
            for row in table.itertuples(index=False, name=None)
        ),
    )


def _cell(column: str, value: str, models: tuple[str, ...]) -> Cell:
    known = column == "model" and value in models
    return name_cell(value, model=models.index(value) if known else None)
