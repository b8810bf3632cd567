"""Confusion: which structure's voxels were called what, for every model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from nnunet_spine_ext.evaluation.confusion import BACKGROUND
from nnunet_spine_ext.report.analysis import Analysis
from nnunet_spine_ext.report.blocks import Block, Drawn, Fold, Section, Words
from nnunet_spine_ext.report.charts.figures import Matrix
from nnunet_spine_ext.report.numbers import percent
from nnunet_spine_ext.report.sheets import Cell, Column, Sheet, name_cell

_WRITTEN = 0.005
"""Shares below it are not written into their cell."""


def confusion_section(analysis: Analysis) -> Section | None:
    """Return the section; None without counts of voxels."""
    table = analysis.comparison.confusion
    if table is None:
        return None
    names = _order(analysis, table)
    models = [model for model in analysis.results.models if (table["model"] == model).any()]
    counts = {model: _counts(table[table["model"] == model], names) for model in models}
    blocks: list[Block] = [
        Words(
            lines=(
                "Of the voxels of each structure in the references (row), the share that the model calls each "
                "structure (column), in per cent, over all cases. A cell beside the diagonal is a neighbour's name: "
                "the label shift. Of the background, nearly all is right; its row shows where false voxels lie.",
            )
        )
    ]
    for i, model in enumerate(models):
        drawn = Drawn(
            key=f"confusion_{i + 1}",
            figure=_matrix(model, counts[model], names),
            caption=f"{model}: per cent of the reference's voxels, over all cases.",
        )
        blocks.append(Fold(heading=model, blocks=(drawn,), is_open=i == 0))
    blocks.append(
        Fold(
            heading="Largest confusions of one structure with another",
            blocks=(_sheet(analysis, counts, names),),
            is_open=True,
        )
    )
    return Section(key="confusion", title="Confusion", blocks=tuple(blocks))


def _order(analysis: Analysis, table: pd.DataFrame) -> list[str]:
    """Return the structures as in the metrics, then any other name, background last."""
    found = set(table["reference"]) | set(table["prediction"])
    known = [name for name in analysis.results.structures if name in found]
    others = sorted(found - set(known) - {BACKGROUND})
    return [*known, *others, *([BACKGROUND] if BACKGROUND in found else [])]


def _counts(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return reference × prediction: voxels over all cases."""
    summed = table.pivot_table(index="reference", columns="prediction", values="voxels", aggfunc="sum", fill_value=0)
    square: pd.DataFrame = summed.reindex(index=list(names), columns=list(names), fill_value=0)
    return square


def _shares(counts: pd.DataFrame) -> pd.DataFrame:
    total = counts.sum(axis=1).replace(0, np.nan)
    shares: pd.DataFrame = counts.div(total, axis=0)
    return shares


def _matrix(model: str, counts: pd.DataFrame, names: Sequence[str]) -> Matrix:
    shares = _shares(counts)
    values = shares.to_numpy(dtype=float)
    voxels = counts.to_numpy(dtype=float)

    def text(share: float) -> str:
        return "" if not share >= _WRITTEN else f"{share:.0%}".rstrip("%")

    def tip(i: int, j: int) -> str:
        if not voxels[i, j]:
            return ""
        return f"{names[i]} called {names[j]}: {voxels[i, j]:,.0f} voxels, {values[i, j]:.2%}"

    places = range(len(names))
    return Matrix(
        title=f"Confusion of structures, {model}",
        row_axis="reference",
        column_axis="prediction (per cent of the reference's voxels)",
        rows=tuple(names),
        columns=tuple(names),
        shares=tuple(map(tuple, values.tolist())),
        texts=tuple(tuple(text(value) for value in row) for row in values),
        tips=tuple(tuple(tip(i, j) for j in places) for i in places),
    )


def _sheet(analysis: Analysis, counts: dict[str, pd.DataFrame], names: Sequence[str], most: int = 12) -> Sheet:
    """Return the largest confusions of one structure with another, by share of the reference in any model."""
    shares = {model: _shares(table) for model, table in counts.items()}
    pairs = [(r, p) for r in names for p in names if r != p and BACKGROUND not in (r, p)]
    largest = {pair: max((_at(table, pair) for table in shares.values()), default=0.0) for pair in pairs}
    chosen = sorted((pair for pair in pairs if largest[pair] > 0), key=lambda pair: (-largest[pair], pair))[:most]
    rows = []
    for pair in chosen:
        found = [_at(table, pair) for table in shares.values()]
        cells = (Cell(text=percent(value, 2), values=(value,)) for value in found)
        rows.append((name_cell(pair[0]), name_cell(pair[1]), *cells))
    return Sheet(
        key="confusions",
        caption=f"{analysis.results.dataset}: share of a structure's voxels that bear another structure's name",
        columns=(
            Column(key="reference", heading="Reference", numeric=False),
            Column(key="prediction", heading="Called", numeric=False),
            *(Column(key=model, heading=model, model=analysis.index(model)) for model in counts),
        ),
        rows=tuple(rows),
    )


def _at(shares: pd.DataFrame, pair: tuple[str, str]) -> float:
    value = float(shares.to_numpy(dtype=float)[shares.index.get_loc(pair[0]), shares.columns.get_loc(pair[1])])
    return 0.0 if np.isnan(value) else value
