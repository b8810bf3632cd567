"""Paper vs measured: each paper's own table, beside it the figures measured here, and why the two differ."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.blocks import Block, Fold, Section, Words
from nnunet_spine_ext.report.costs import Costs
from nnunet_spine_ext.report.paper_tables import PAPER_TABLES, PaperColumn, PaperRow, PaperTable
from nnunet_spine_ext.report.results import Spread
from nnunet_spine_ext.report.sheets import MODEL, NOTHING, Cell, Column, Sheet, fixed, name_cell

_NARROW = 6
"""Columns up to which a deviation has room behind its value."""

Trainers = Mapping[str, str]
"""Model → trainer, where it is known."""


def papers_section(analysis: Analysis, trainers: Trainers) -> Section | None:
    """Return the section; None if no model stands in a paper's table."""
    blocks: list[Block] = []
    opened: set[str] = set()
    for table in PAPER_TABLES:
        found = [(row, _models_of(row, analysis.results.models, trainers)) for row in table.rows]
        if any(models for _, models in found):
            parts: tuple[Block, ...] = (
                Words(lines=(f"Setting of the paper: {table.setting}.",)),
                _sheet(analysis, table, found),
                Words(lines=("Why the two are not comparable:",)),
                Words(lines=table.differs, bullets=True),
            )
            paper = table.key.split("_")[0]
            blocks.append(Fold(heading=table.source, blocks=parts, is_open=paper not in opened))
            opened.add(paper)
    if not blocks:
        return None
    opening = Words(
        lines=(
            "Each paper's own table as printed, and under its row what was measured here (with the model's mark; ± is "
            "over cases). The two are different measurements; why is said below each table.",
        )
    )
    return Section(key="papers", title="Paper vs measured", blocks=(opening, *blocks))


def network_of(name: str) -> set[str]:
    """Return the networks that a trainer or a title may stand for, in small letters without spaces or signs."""
    word = re.split(r"[ _]", name, maxsplit=1)[0]
    key = re.sub(r"[^a-z0-9]", "", word.lower().replace("+", "p")).removeprefix("spine").removesuffix("trainer")
    return {key, key.removesuffix("paper")} - {""}


def _models_of(row: PaperRow, models: Sequence[str], trainers: Trainers) -> list[str]:
    if not row.network:
        return []
    return [model for model in models if row.network in network_of(trainers.get(model, model))]


def _sheet(analysis: Analysis, table: PaperTable, found: Sequence[tuple[PaperRow, list[str]]]) -> Sheet:
    costs, wide = Costs.of(analysis.comparison.costs), len(table.columns) > _NARROW
    rows: list[tuple[Cell, ...]] = []
    for row, models in found:
        printed = (_printed(text, value, wide=wide) for text, value in zip(row.printed, row.values, strict=True))
        rows.append((name_cell(row.name), name_cell("paper"), *printed))
        for model in models:
            measured = (_measured(analysis, costs, model, column, wide=wide) for column in table.columns)
            name = name_cell(model, model=analysis.index(model))
            rows.append((name, name_cell("here"), *measured))
    return Sheet(
        key=table.key,
        caption=f"{table.source}, and what was measured on {analysis.results.dataset}",
        columns=(
            MODEL,
            Column(key="source", heading="Source", numeric=False),
            *(Column(key=column.heading, heading=column.heading) for column in table.columns),
        ),
        rows=tuple(rows),
    )


def _printed(text: str, value: float, *, wide: bool) -> Cell:
    mean, _, sd = text.partition("±")
    return _cell(mean, value, f"± {sd}" if sd else "", wide=wide)


def _cell(text: str, value: float, sd: str, *, wide: bool) -> Cell:
    """Return a cell whose deviation stands behind its value, in a table of many columns below it."""
    return Cell(text=text, values=(value,), small="" if wide else sd, below=sd if wide else "")


def _measured(analysis: Analysis, costs: Costs, model: str, column: PaperColumn, *, wide: bool) -> Cell:
    """Return what was measured here in the paper's unit."""
    results = analysis.results
    if column.kind == "cost":
        found = Spread.of([costs.value(model, column.what)])
    elif column.kind == "none":
        found = Spread.of([])
    elif column.kind == "structure":
        found = Spread.of(results.values(model=model, label=column.structure, metric=column.what))
    else:
        found = Spread.of(results.case_means(model=model, metric=column.what))
    value, sd = found.mean * column.factor, found.sd * column.factor
    text = NOTHING if math.isnan(value) else fixed(value, column.decimals)
    return _cell(text, value, "" if math.isnan(sd) else f"± {fixed(sd, column.decimals)}", wide=wide)
