"""Small label maps on disk, for the tests of evaluation and report."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_spine_ext.data.geometry import Grid, write_image

RAI = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
"""Array axes along the patient's: x to the left, y to the back, z up."""

LABELS = {"background": 0, "S": 1, "L5": 2, "L5/S": 3}


def write_array(
    path: Path,
    array_zyx: NDArray[np.generic],
    *,
    spacing_xyz_mm: tuple[float, ...] = (1.0, 2.0, 3.0),
    origin_xyz_mm: tuple[float, ...] = (0.0, 0.0, 0.0),
    direction: tuple[float, ...] = RAI,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = array_zyx.shape[::-1]
    grid = Grid(size_xyz=size, spacing_xyz_mm=spacing_xyz_mm, origin_xyz_mm=origin_xyz_mm, direction=direction)
    write_image(grid.place(array_zyx), path)
    return path


def random_labels(seed: int, *, shape: tuple[int, int, int] = (3, 8, 6), highest: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, highest + 1, size=shape, dtype=np.uint8)


def write_folders(root: Path, cases: int = 3) -> tuple[Path, Path]:
    """Write `cases` random pairs; return the folder of predictions and that of references."""
    for i in range(cases):
        write_array(root / "labelsTs" / f"case{i}.nii.gz", random_labels(i))
        write_array(root / "predictions" / f"case{i}.nii.gz", random_labels(100 + i))
    return root / "predictions", root / "labelsTs"


def write_dataset(raw: Path, labels: Mapping[str, object] = LABELS, **more: object) -> Path:
    """Write `dataset.json` of Dataset501_Fake under `raw`; return the dataset's folder."""
    folder = raw / "Dataset501_Fake"
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"channel_names": {"0": "T2"}, "labels": labels, "numTraining": 0, "file_ending": ".nii.gz", **more}
    (folder / "dataset.json").write_text(json.dumps(facts))
    return folder


def read_rows(metrics: Path) -> dict[tuple[str, str, str], float]:
    """Return case, label, metric → value (NaN for an empty cell)."""
    with metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(r["case"], r["label"], r["metric"]): float(r["value"] or "nan") for r in rows}


def columns(metrics: Path, *names: str) -> set[tuple[str, ...]]:
    """Return which combinations of these columns occur in a table."""
    with metrics.open(newline="") as file:
        return {tuple(row[name] for name in names) for row in csv.DictReader(file)}
