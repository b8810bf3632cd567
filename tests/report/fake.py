"""Tables of metrics and small datasets for the tests of the report."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_spine_ext.evaluation.cases import COLUMNS, evaluate_folder
from tests.evaluation.fake import write_array

# Axes back, up, right, tilted by 3.4 degrees: the family of the challenge (matrix in row-major order, LPS).
CHALLENGE = (0.0, 0.05944199, -0.99823176, 1.0, 0.0, 0.0, 0.0, 0.99823176, 0.05944199)
# Axes right, front, up: the Chu set, as its header says.
CHU = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
SPINE_LABELS = {"background": 0, "S": 1, "L5": 2, "L5/S": 11}


def write_table(
    path: Path, rows: Iterable[tuple[str, str, str, str, object]], dataset: str = "Dataset501_Fake"
) -> Path:
    """Write rows of model, case, label, metric, value; they belong to no fold and no seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((dataset, model, "", "", *rest) for model, *rest in rows)
    return path


def two_models(folder: Path) -> list[Path]:
    """Two models, three cases, two structures; values chosen so that the means are easy."""
    values = {
        ("A", "c1"): (0.9, 0.7),
        ("A", "c2"): (0.8, ""),
        ("A", "c3"): (0.6, 0.2),
        ("B", "c1"): (0.5, 0.7),
        ("B", "c2"): (0.9, ""),
        ("B", "c3"): (0.6, 0.2),
    }
    return [
        write_table(
            folder / f"{model}.csv",
            [
                (model, case, label, "dice", value)
                for (m, case), pair in values.items()
                if m == model
                for label, value in zip(("L5", "S"), pair, strict=True)
            ],
        )
        for model in ("A", "B")
    ]


def spine(shift: int = 0) -> NDArray[np.uint8]:
    """Return 5 slices of 40 x 30 voxels, axes right, up, back as in `CHALLENGE`: S, a disc, L5 above."""
    labels = np.zeros((5, 40, 30), np.uint8)  # slices, up, back
    labels[1:4, 5 + shift : 13 + shift, 10:20] = 1
    labels[1:4, 13 + shift : 16 + shift, 10:20] = SPINE_LABELS["L5/S"]
    labels[1:4, 16 + shift : 26 + shift, 8:18] = 2
    return labels


def write_dataset_on_disk(root: Path, *, models: dict[str, int], cases: int = 2, notes: str = "made up") -> list[Path]:
    """Write images, references and predictions (the reference moved up by so many voxels); return the tables."""
    dataset = root / "Dataset501_Fake"
    dataset.mkdir(parents=True)
    (dataset / "dataset.json").write_text(json.dumps({"labels": SPINE_LABELS, "description": notes}))
    grid = {"spacing_xyz_mm": (1.0, 1.0, 4.4), "direction": CHALLENGE}
    rng = np.random.default_rng(0)
    for i in range(cases):
        image = (spine() * 100 + rng.normal(300, 20, spine().shape)).astype(np.int16)
        write_array(dataset / "imagesTs" / f"c{i}_0000.nii.gz", image, **grid)  # type: ignore[arg-type]
        write_array(dataset / "labelsTs" / f"c{i}.nii.gz", spine(), **grid)  # type: ignore[arg-type]
        for model, shift in models.items():
            write_array(root / model / f"c{i}.nii.gz", spine(shift + i), **grid)  # type: ignore[arg-type]
    return [
        evaluate_folder(
            root / model,
            dataset / "labelsTs",
            labels=SPINE_LABELS,
            model=model,
            output=root / f"{model}.csv",
            processes=1,
            images=dataset / "imagesTs",
        )
        for model in models
    ]
