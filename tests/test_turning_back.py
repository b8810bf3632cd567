"""Label maps of prepared images come back onto the axes of the originals; what is expected, nibabel turns."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import nnunetv2.inference.predict_from_raw_data as nnunet_predict
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine_ext.data.turning_back import RECORD_FILE, turn_back_folder, turned_grids
from nnunet_spine_ext.errors import DataError
from nnunet_spine_ext.training.entry import predict
from tests.conftest import NnunetFolders
from tests.data import verse
from tests.dataset_conversion.published import nnunet_spine

CODES = ("PIR", "LPS", "ASL", "RAS")


@pytest.fixture
def prepared(tmp_path: Path, nnunet_folders: NnunetFolders) -> Path:
    """Scans of several orders of axes, prepared for a dataset whose axes are LPS."""
    verse.write(tmp_path / "download")
    assert nnunet_spine("convert", "verse", tmp_path / "download", "-d", 501, "-np", 1).code == 0
    for codes in CODES:
        verse.save(verse.ct_ras(7), tmp_path / f"new/scan_{codes}_0000.nii.gz", codes)
    ended = nnunet_spine("prepare", "-i", tmp_path / "new", "-o", tmp_path / "prepared", "-d", 501, "-np", 1)
    assert ended.code == 0, ended.error
    return tmp_path / "prepared"


def write_predictions(folder: Path) -> None:
    """The same vertebrae for every scan, on the prepared grid."""
    for codes in CODES:
        verse.save(verse.mask_ras(), folder / f"scan_{codes}.nii.gz", "LPS")


def predict_by_command(prepared: Path, predictions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nnunet() -> None:
        write_predictions(predictions)
        record = {"list_of_lists_or_source_folder": str(prepared), "save_probabilities": False}
        (predictions / "predict_from_raw_data_args.json").write_text(json.dumps(record))
        (predictions / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))

    monkeypatch.setattr(nnunet_predict, "predict_entry_point", nnunet)
    predict(["-i", str(prepared), "-o", str(predictions), "-d", "501"])


def test_every_map_has_its_originals_axes_and_place(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = tmp_path / "predictions"
    predict_by_command(prepared, predictions, monkeypatch)
    for codes in CODES:
        file, original = predictions / f"scan_{codes}.nii.gz", tmp_path / f"new/scan_{codes}_0000.nii.gz"
        expected = verse.save(verse.mask_ras(), tmp_path / f"expected_{codes}.nii.gz", codes)
        assert np.array_equal(np.asarray(nib.load(file).dataobj), np.asarray(nib.load(expected).dataobj))
        ours, theirs = sitk.ReadImage(str(file)), sitk.ReadImage(str(original))
        assert ours.GetOrigin() == theirs.GetOrigin()
        assert ours.GetDirection() == theirs.GetDirection()
        assert ours.GetSpacing() == theirs.GetSpacing()
    # LPS is the dataset's own order.
    assert "3 label maps" in capsys.readouterr().out


def test_a_second_call_changes_nothing(prepared: Path, tmp_path: Path) -> None:
    write_predictions(tmp_path / "maps")
    originals = turned_grids(prepared / RECORD_FILE, file_ending=".nii.gz")
    assert len(turn_back_folder(tmp_path / "maps", originals)) == 3
    first = {p.name: p.read_bytes() for p in (tmp_path / "maps").iterdir()}
    assert turn_back_folder(tmp_path / "maps", originals) == []
    assert {p.name: p.read_bytes() for p in (tmp_path / "maps").iterdir()} == first


def test_a_map_of_another_place_is_refused_before_any_is_turned(prepared: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    write_predictions(maps)
    moved = sitk.ReadImage(str(maps / "scan_PIR.nii.gz"))
    moved.SetOrigin([0.0, 0.0, 0.0])
    sitk.WriteImage(moved, str(maps / "scan_PIR.nii.gz"))
    before = {p.name: p.read_bytes() for p in maps.iterdir()}
    with pytest.raises(DataError, match=r"scan_PIR\.nii\.gz.*does not lie on the prepared image"):
        turn_back_folder(maps, turned_grids(prepared / RECORD_FILE, file_ending=".nii.gz"))
    assert {p.name: p.read_bytes() for p in maps.iterdir()} == before


@pytest.mark.parametrize("content", ["", "[]", '{"files": {"a_0000.nii.gz": {"turned_from": {"size_xyz": [1]}}}}'])
def test_a_broken_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD_FILE).write_text(content)
    with pytest.raises(DataError, match=r"is no record of prepared images.*Prepare the images again"):
        turned_grids(tmp_path / RECORD_FILE, file_ending=".nii.gz")
