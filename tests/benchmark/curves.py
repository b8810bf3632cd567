"""A small dataset with trained folds that are no networks, and a predictor that looks at the images' grey values."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnunet_spine_ext.benchmark.curves.predicting import PredictionTask
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.data.geometry import Grid, read_image, voxels, write_image
from tests.conftest import NnunetFolders
from tests.evaluation.fake import write_array

NAME = "Dataset501_Fake"
LABELS = {"background": 0, "S": 1, "L5": 2}
FOLDS = (("c1", "c3"), ("c0", "c2"))
GREYS = (100, 400, 700)
"""Of background, S, L5."""


def model(title: str, *, trainer: str = "", baseline: bool = False) -> Model:
    return Model(
        trainer=trainer or f"{title}Trainer",
        plans="nnUNetPlans",
        configuration="3d_fullres",
        title=title,
        baseline=baseline,
    )


def write_raw(folders: NnunetFolders, *, channels: int = 1) -> Path:
    """Write four training cases with their two folds, and two test cases."""
    folder = folders.raw / NAME
    folder.mkdir()
    facts = {"channel_names": {str(i): "T2" for i in range(channels)}, "labels": LABELS, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(facts))
    for subset, cases in (("Tr", ("c0", "c1", "c2", "c3")), ("Ts", ("t0", "t1"))):
        for number, case in enumerate(cases):
            labels = np.zeros((4, 12, 10), dtype=np.uint8)
            labels[:, 2:5, 1 + number : 6 + number], labels[:, 6:10, 2:8] = 1, 2
            image = np.array(GREYS, dtype=np.int16)[labels]
            write_array(folder / f"labels{subset}" / f"{case}.nii.gz", labels, spacing_xyz_mm=(1, 1, 4))
            for channel in range(channels):
                file = folder / f"images{subset}" / f"{case}_{channel:04d}.nii.gz"
                write_array(file, image, spacing_xyz_mm=(1, 1, 4))
    done = folders.preprocessed / NAME
    done.mkdir()
    splits = [{"train": [], "val": list(cases)} for cases in FOLDS]
    (done / "splits_final.json").write_text(json.dumps(splits))
    return folder


def train(results: Path, trained: Model, *, folds: Sequence[int] = (0, 1), weights: str = "w") -> Path:
    """Write final checkpoints, which hold nothing; return the model's folder."""
    folder = results / NAME / trained.folder_name
    for fold in folds:
        file = folder / f"fold_{fold}" / "checkpoint_final.pth"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{weights} {trained.title} {fold}")
    return folder


@dataclass
class FakePredictor:
    """Labels voxels by their grey values, so that worse images give worse label maps; keeps what it was asked for."""

    stop_at: int | None = None
    """The call that ends like Ctrl-C."""
    refuse: str | None = None
    """The title of a model whose network does not load."""
    tasks: list[PredictionTask] = field(default_factory=list)
    images: list[dict[str, np.ndarray]] = field(default_factory=list)

    def __call__(self, task: PredictionTask) -> None:
        from nnunet_spine_ext.errors import SpineExtError

        if len(self.tasks) == self.stop_at:
            raise KeyboardInterrupt
        self.tasks.append(task)
        if task.model.title == self.refuse:
            raise SpineExtError("the network does not load")
        seen = {}
        for file in sorted(task.images.glob("*_0000.nii.gz")):
            image = read_image(file)
            seen[file.name] = voxels(image)
            nearest = np.abs(seen[file.name][..., None] - np.array(GREYS)).argmin(axis=-1).astype(np.uint8)
            task.output.mkdir(exist_ok=True)
            write_image(Grid.of(image).place(nearest), task.output / file.name.replace("_0000", ""))
        self.images.append(seen)


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))
