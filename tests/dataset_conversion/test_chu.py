"""The lower-spine data of Chu et al.: names, `.nii` → `.nii.gz`, header noise, the axis that is thick, hold-out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from dataset_conversion import convert
from nnunet_spine_ext.data.geometry import read_grid, read_image, voxels
from tests.data import chu


def converted(source: Path, **options: Any) -> Path:
    return convert("chu", source, dataset_id=502, target_root=source.parent / "raw", processes=1, **options)


def log_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "conversion_log.json").read_text())  # type: ignore[no-any-return]


def test_a_part_of_the_cases_is_enough(tmp_path: Path) -> None:
    folder = converted(chu.write(tmp_path / "download", [2, 4, 5, 6, 7, 8, 9, 10]))
    assert folder.name == "Dataset502_ChuLowerSpine"
    cases = ["Img_02", "Img_04", "Img_05", "Img_06", "Img_07", "Img_08", "Img_09", "Img_10"]
    assert sorted(p.name for p in (folder / "imagesTr").iterdir()) == [f"{case}_0000.nii.gz" for case in cases]
    assert sorted(p.name for p in (folder / "labelsTr").iterdir()) == [f"{case}.nii.gz" for case in cases]
    splits = json.loads((folder / "splits_final.json").read_text())
    assert sorted(len(split["val"]) for split in splits) == [1, 1, 2, 2, 2]
    assert sorted(case for split in splits for case in split["val"]) == cases


@pytest.mark.parametrize("parent", ["", "Dataset/"])
def test_copies_sorted_into_folders_are_recognised(parent: str, tmp_path: Path) -> None:
    chu.write(tmp_path / "download", [1, 23], images=f"{parent}Images", labels=f"{parent}Labels")
    assert sorted(log_of(converted(tmp_path / "download"))["cases"]) == ["Img_01", "Img_23"]


def test_images_are_compressed_with_their_bytes_untouched(tmp_path: Path) -> None:
    source = chu.write(tmp_path / "download", [1, 2])
    folder = converted(source)
    written = (folder / "imagesTr/Img_01_0000.nii.gz").read_bytes()
    assert gzip.decompress(written) == (source / "Img_01.nii").read_bytes()
    assert written[4:8] == bytes(4), "a time in the file would make every conversion different"


def test_header_noise_between_label_and_image_is_repaired(tmp_path: Path) -> None:
    folder = converted(chu.write(tmp_path / "download", [1, 2], noisy=[2]))
    image, label = read_grid(folder / "imagesTr/Img_02_0000.nii.gz"), read_grid(folder / "labelsTr/Img_02.nii.gz")
    assert label.spacing_xyz_mm == pytest.approx((1.9999, 1.25, 1.25))
    assert label.differences(image, tolerance_mm=1e-6) == []
    cases = log_of(folder)["cases"]
    assert cases["Img_01"]["changes"] == []
    assert "the image's header instead of its own" in cases["Img_02"]["changes"][0]["what"]


def test_the_wrong_direction_of_the_headers_is_kept_and_said(tmp_path: Path) -> None:
    folder = converted(chu.write(tmp_path / "download", [1, 2]))
    log = log_of(folder)
    assert log["cases"]["Img_01"]["image"]["orientation"] == "RAS"
    assert nib.aff2axcodes(nib.load(folder / "labelsTr/Img_01.nii.gz").affine) == ("R", "A", "S")
    assert "runs to posterior" in log["notes"][0]
    assert "kept as distributed" in log["notes"][0]


def test_bodies_follow_one_another_along_the_first_axis_and_slices_are_last(tmp_path: Path) -> None:
    folder = converted(chu.write(tmp_path / "download", [1, 2]))
    description = json.loads((folder / "dataset.json").read_text())
    labels = voxels(read_image(folder / "labelsTr/Img_01.nii.gz"))
    assert labels.shape == (30, 30, 6)
    axis = description["spine"]["cranio_caudal_axis_zyx"]
    along = labels.any(axis=tuple(i for i in range(3) if i != axis))
    assert np.count_nonzero(np.diff(along.astype(int)) == 1) == 7
    assert description["labels"] == {"background": 0, "vertebral bodies": 1}
    assert description["spine"]["ordered_labels"] is False


def test_held_out_cases_become_the_test_set_with_labels(tmp_path: Path) -> None:
    folder = converted(chu.write(tmp_path / "download", [2, 4, 9, 10]), hold_out=["09", "10"])
    for name, ending in (("images", "_0000"), ("labels", "")):
        assert sorted(p.name for p in (folder / f"{name}Tr").iterdir()) == [
            f"Img_{n}{ending}.nii.gz" for n in ("02", "04")
        ]
        assert sorted(p.name for p in (folder / f"{name}Ts").iterdir()) == [
            f"Img_{n}{ending}.nii.gz" for n in ("09", "10")
        ]
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 2
    splits = json.loads((folder / "splits_final.json").read_text())
    assert {case for split in splits for side in split.values() for case in side} == {"Img_02", "Img_04"}
    log = log_of(folder)
    assert log["held_out"] == ["09", "10"]
    assert log["cases"]["Img_09"]["source"]["subset"] == "hold-out"


def test_nnunet_accepts_the_dataset(tmp_path: Path) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    folder = converted(chu.write(tmp_path / "download", [1, 2, 3], noisy=[3]), hold_out=["3"])
    verify_dataset_integrity(str(folder), num_processes=1)


def test_the_real_cases(test_data: Path, tmp_path: Path) -> None:
    source = test_data / "chu_lower_spine"
    folder = convert("chu", source, dataset_id=502, target_root=tmp_path, hold_out=["09", "10"], processes=1)
    log = log_of(folder)
    assert (log["summary"]["training"], log["summary"]["test"]) == (6, 2)
    for number in ("02", "09"):
        part = "Tr" if number == "02" else "Ts"
        published = nib.load(source / f"Img_{number}_Labels.nii")
        written = nib.load(folder / f"labels{part}/Img_{number}.nii.gz")
        assert (np.asarray(written.dataobj) == np.asarray(published.dataobj)).all()
        assert np.allclose(written.affine, published.affine)
        image = (folder / f"images{part}/Img_{number}_0000.nii.gz").read_bytes()
        assert gzip.decompress(image) == (source / f"Img_{number}.nii").read_bytes()
