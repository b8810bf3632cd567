"""Every converted dataset goes through nnU-Net's own checking, planning and preprocessing; the folds go along."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_conversion import convert
from tests.conftest import NnunetFolders
from tests.data import chu, lungs, mrspineseg, spider, verse

DOWNLOADS: dict[str, tuple[Callable[[Path], object], str | None, str]] = {
    "mrspineseg": (lambda r: mrspineseg.write_challenge(r, dict.fromkeys((2, 5, 7), mrspineseg.COMMON)), None, "2d"),
    "chu": (lambda root: chu.write(root, range(1, 6)), "vertebrae", "3d_fullres"),
    "spider": (spider.write, "ignore_partial", "3d_fullres"),
    "verse": (verse.write, None, "3d_fullres"),
    "lung2d": (lungs.write_slices, None, "2d"),
    "lung3d": (lungs.write_volumes, None, "3d_fullres"),
}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", DOWNLOADS)
def test_check_plan_and_preprocess(
    dataset: str, tmp_path: Path, nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    monkeypatch.setenv("nnUNet_n_proc_DA", "1")  # the planner gives torch as many threads
    write, labels, configuration = DOWNLOADS[dataset]
    write(tmp_path / "download")
    folder = convert(dataset, tmp_path / "download", dataset_id=510, labels=labels, processes=1)
    extract_fingerprints([510], num_processes=1, check_dataset_integrity=True, clean=True, verbose=False)
    plan_experiments([510])
    preprocess([510], configurations=[configuration], num_processes=[1], verbose=False)
    done = nnunet_folders.preprocessed / folder.name
    description = json.loads((folder / "dataset.json").read_text())
    cases = {path.name.split(".")[0] for path in done.glob("nnUNetPlans_*/*.pkl")}
    assert len(cases) == description["numTraining"]
    assert (done / "splits_final.json").read_bytes() == (folder / "splits_final.json").read_bytes()
    plans = json.loads((done / "nnUNetPlans.json").read_text())["configurations"][configuration]
    ct = description["channel_names"]["0"] == "CT"
    assert plans["normalization_schemes"] == ["CTNormalization" if ct else "ZScoreNormalization"]
