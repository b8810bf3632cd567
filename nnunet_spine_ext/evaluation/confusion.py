"""Which structure was taken for which: `<table>.confusion.csv`, beside the table of metrics.

Its columns are `dataset, model, fold, seed, case, reference, prediction, voxels`; pairs without a voxel are left out.
Voxels of no structure are "background". Where regions overlap, voxels in the same regions are one row or column, named
after all of them.

K ids; matrices are (K, K) with rows for the reference's ids and columns for the prediction's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_spine_ext.evaluation.rows import ConfusionRow
from nnunet_spine_ext.evaluation.structures import Structures

CONFUSION_COLUMNS = ("dataset", "model", "fold", "seed", "case", "reference", "prediction", "voxels")
BACKGROUND = "background"


def confusion_path(metrics: Path) -> Path:
    """Return where the confusions of the table `metrics` lie."""
    return metrics.with_name(f"{metrics.name}.confusion.csv")


def confusion_rows(matrix: NDArray[np.int64], structures: Structures) -> list[ConfusionRow]:
    """Return the pairs of structures that share voxels, background first, then in the order of the label table."""
    owners = _owners(structures, len(matrix))
    names = list(dict.fromkeys([BACKGROUND, *(owners[i] for s in structures.each for i in s.ids)]))
    member = np.array([[owner == name for owner in owners] for name in names], dtype=np.int64)
    counts = member @ matrix @ member.T
    return [
        (reference, prediction, int(counts[i, j]))
        for i, reference in enumerate(names)
        for j, prediction in enumerate(names)
        if counts[i, j]
    ]


def _owners(structures: Structures, ids: int) -> list[str]:
    """Return for every id the structure that it belongs to; for several, their names together."""
    holders = [[structure.name for structure in structures.each if i in structure.ids] for i in range(ids)]
    return [" + ".join(names) or BACKGROUND for names in holders]
