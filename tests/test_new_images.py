"""Later test images go through what dataset.json records: the same axes, the same values, the same refusals."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine_ext.data.new_images import recorded_preparation
from nnunet_spine_ext.errors import DataError
from tests.conftest import NnunetFolders
from tests.data import generic, lungs, spider, verse
from tests.dataset_conversion.published import generic_arguments, nnunet_spine


def prepared(images: Path, output: Path, *, code: int = 0) -> str:
    ended = nnunet_spine("prepare", "-i", images, "-o", output, "-d", 501, "-np", 1)
    assert ended.code == code, ended.error
    return ended.out + ended.error


def test_scans_of_any_axes_are_turned_as_verse_was(tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    verse.write(tmp_path / "download")
    assert nnunet_spine("convert", "verse", tmp_path / "download", "-d", 501, "-np", 1).code == 0
    folder = nnunet_folders.raw / "Dataset501_VerSe"
    recorded = json.loads((folder / "dataset.json").read_text())["spine"]["image_steps"]
    assert recorded == ["require_hounsfield", "axes_to_lps"]
    voxels = verse.ct_ras(77)
    for codes in ("PIR", "LPS", "ASL"):
        verse.save(voxels, tmp_path / f"new/scan_{codes}_0000.nii.gz", codes)
    prepared(tmp_path / "new", tmp_path / "out")
    changes = json.loads((tmp_path / "out/prepared.json").read_text())["files"]
    for codes in ("PIR", "LPS", "ASL"):
        image = nib.load(tmp_path / f"out/scan_{codes}_0000.nii.gz")
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        # From RAS to LPS: the first two axes run the other way.
        assert (np.asarray(image.dataobj) == voxels[::-1, ::-1]).all()
        turned = [] if codes == "LPS" else [f"axes turned from {codes} to LPS"]
        assert changes[f"scan_{codes}_0000.nii.gz"]["changes"] == turned


def test_the_datasets_own_images_come_out_as_they_were_converted(tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    spider.write(tmp_path / "spider", overview=False)
    lungs.write_volumes(tmp_path / "lungs")
    for name, source, images, folder in (
        ("spider", tmp_path / "spider", tmp_path / "spider/images", "Dataset501_SPIDER"),
        ("lung3d", tmp_path / "lungs", tmp_path / "lungs only", None),
    ):
        if name == "lung3d":
            images.mkdir()
            for path in (tmp_path / "lungs/3d_images").glob("IMG*"):
                path.rename(images / path.name)
                (tmp_path / "lungs/3d_images" / path.name).symlink_to(images / path.name)
        raw = nnunet_folders.raw / name
        assert nnunet_spine("convert", name, source, "-d", 501, "-np", 1, "-o", raw).code == 0
        (converted,) = raw.iterdir()
        assert folder in (None, converted.name)
        converted.rename(nnunet_folders.raw / converted.name)
        converted = nnunet_folders.raw / converted.name
        prepared(images, tmp_path / f"{name}_out")
        log = json.loads((converted / "conversion_log.json").read_text())["cases"]
        assert log
        for case, entry in log.items():
            stem = Path(entry["image"]["file"]).name.split(".")[0]
            ours = sitk.ReadImage(str(tmp_path / f"{name}_out/{stem}.nii.gz"))
            theirs = sitk.ReadImage(str(converted / f"imagesTr/{case}_0000.nii.gz"))
            assert (sitk.GetArrayFromImage(ours) == sitk.GetArrayFromImage(theirs)).all()
            assert ours.GetDirection() == pytest.approx(theirs.GetDirection())
            assert ours.GetOrigin() == pytest.approx(theirs.GetOrigin())
        converted.rename(tmp_path / f"{name}_dataset")


def test_what_a_converter_refuses_is_refused_here_too(tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    generic.write(tmp_path, [5, 7])
    assert nnunet_spine("convert", *generic_arguments(tmp_path, "--ct"), "-d", 501, "-np", 1).code == 0
    generic.save(generic.picture(1).astype(np.uint8), tmp_path / "new/screen.nii.gz")
    generic.save(generic.picture(2), tmp_path / "new/scan.nii.gz")
    said = prepared(tmp_path / "new", tmp_path / "out", code=1)
    assert "screen.nii.gz" in said
    assert "scan.nii.gz:" not in said
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["prepared.json", "scan.nii.gz"]


def test_a_step_of_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"spine": {"image_steps": ["axes_to_moon"]}}')
    with pytest.raises(DataError, match=r"unknown steps axes_to_moon.*Convert the dataset again"):
        recorded_preparation(tmp_path, {})
