"""Plans and dataset.json of a preprocessed dataset: read, written, and what is said when they are not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from batchgenerators.utilities.file_and_folder_operations import save_json

from nnunet_spine_ext.errors import DataError, SetupError
from nnunet_spine_ext.planning.plans_file import read_dataset, read_plans, write_plans
from tests.conftest import NnunetFolders

PLANS = {"plans_name": "SomePlans", "configurations": {"2d": {"patch_size": [64, 64]}}}


def test_plans_are_written_as_nnunet_writes_them(tmp_path: Path) -> None:
    save_json(PLANS, str(tmp_path / "theirs.json"), sort_keys=False)
    write_plans(PLANS, tmp_path / "SomePlans.json")
    assert (tmp_path / "SomePlans.json").read_bytes() == (tmp_path / "theirs.json").read_bytes()
    assert read_plans(tmp_path, "SomePlans") == PLANS
    assert read_plans(tmp_path, "OtherPlans") is None


def test_plans_that_were_cut_are_a_finding(tmp_path: Path) -> None:
    (tmp_path / "SomePlans.json").write_text('{"plans_name"')
    with pytest.raises(DataError, match=r"SomePlans\.json: is no JSON"):
        read_plans(tmp_path, "SomePlans")


def test_dataset_json_is_the_preprocessed_one_or_else_the_raw_one(
    nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, raw = (folder / "Dataset501_X" for folder in (nnunet_folders.preprocessed, nnunet_folders.raw))
    with pytest.raises(SetupError, match=r"dataset\.json is missing in .*preprocessed/Dataset501_X and .*raw/Dataset5"):
        read_dataset(done)
    for folder in (raw, done):
        folder.mkdir()
        (folder / "dataset.json").write_text(json.dumps({"name": str(folder)}))
        assert read_dataset(done) == {"name": str(folder)}
    monkeypatch.delenv("nnUNet_raw")  # not needed then
    assert read_dataset(done) == {"name": str(done)}
