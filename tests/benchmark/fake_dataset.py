"""A dataset of four cases in two folds, with stock plans and preprocessed folders that are only names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.benchmark.fake import DATASET, plans_file
from tests.conftest import NnunetFolders
from tests.training.tiny import write_volume

CASES = ("a", "b", "c", "d")
FOLDS = [["a", "b"], ["c", "d"]]


def label_map(case: str, *, shift: int = 0) -> np.ndarray:
    labels = np.zeros((4, 12, 12), dtype=np.uint8)
    start = 2 + CASES.index(case) + shift
    labels[1:3, start : start + 4, 3:8] = 1
    labels[1:3, 0:2, 3:8] = 2
    return labels


def write_dataset(folders: NnunetFolders) -> Path:
    """Write it; return its raw folder."""
    raw, done = folders.raw / DATASET, folders.preprocessed / DATASET
    for folder in (raw, done):
        folder.mkdir()
        splits = [{"train": [c for c in CASES if c not in val], "val": val} for val in FOLDS]
        (folder / "splits_final.json").write_text(json.dumps(splits))
        facts = {"labels": {"background": 0, "L5": 1, "L4": 2}, "file_ending": ".nii.gz", "channel_names": {"0": "MR"}}
        (folder / "dataset.json").write_text(json.dumps(facts))
    for case in CASES:
        write_volume(label_map(case), raw / "labelsTr" / f"{case}.nii.gz")
        write_volume(label_map(case).astype(np.float32), raw / "imagesTr" / f"{case}_0000.nii.gz")
    plans_file(done, "nnUNetPlans", {"3d_fullres": {"data_identifier": "nnUNetPlans_3d_fullres"}})
    (done / "nnUNetPlans_3d_fullres").mkdir()
    (done / "nnUNetPlans_3d_fullres" / "a.pkl").touch()
    return raw
