"""`convert generic`: folders of any known format become what their files say; real files where there are some."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine_ext.data.geometry import read_grid, read_image, voxels
from tests.data import generic
from tests.dataset_conversion.published import Ended, generic_arguments, nnunet_spine


def convert(root: Path, *more: object) -> Ended:
    return nnunet_spine("convert", *generic_arguments(root), "-d", 501, "-o", root / "raw", "-np", 1, *more)


def converted(root: Path, *more: object) -> Path:
    ended = convert(root, *more)
    assert ended.code == 0, ended.error
    return root / "raw/Dataset501_Fake"


def log_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "conversion_log.json").read_text())  # type: ignore[no-any-return]


def dataset_json(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "dataset.json").read_text())  # type: ignore[no-any-return]


def array(path: Path) -> Any:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_volumes_of_every_format_give_one_dataset(ending: str, tmp_path: Path) -> None:
    folder = converted(generic.write(tmp_path, [5, 12, 7], ending=ending))
    assert sorted(p.name for p in (folder / "labelsTr").iterdir()) == [
        "scan_05_T2.nii.gz",
        "scan_07_T2.nii.gz",
        "scan_12_T2.nii.gz",
    ]
    assert (array(folder / "imagesTr/scan_12_T2_0000.nii.gz") == generic.picture(12)).all()
    label = array(folder / "labelsTr/scan_12_T2.nii.gz")
    for published, target in ((1, 1), (4, 2), (7, 3)):
        assert ((generic.mask() == published) == (label == target)).all()
    grid = read_grid(folder / "imagesTr/scan_12_T2_0000.nii.gz")
    assert grid.spacing_xyz_mm == pytest.approx(generic.SPACING)
    assert grid.direction == pytest.approx(generic.DIRECTION)
    assert grid.differences(read_grid(folder / "labelsTr/scan_12_T2.nii.gz"), tolerance_mm=1e-6) == []
    assert dataset_json(folder)["labels"] == {"background": 0, "sacrum": 1, "L5": 2, "L4": 3}


def test_facts_of_the_files_are_in_the_log(tmp_path: Path) -> None:
    log = log_of(converted(generic.write(tmp_path, [5, 7])))
    entry = log["cases"]["scan_05_T2"]
    assert entry["image"]["file"] == "images/scan_05_T2.nii.gz"
    assert entry["label"]["file"] == "labels/scan_05_seg.nii.gz"
    assert entry["image"]["size_xyz"] == list(generic.SIZE)
    assert entry["image"]["orientation"] == entry["label"]["orientation"] == "PIR"
    assert (entry["image"]["minimum"], entry["image"]["maximum"]) == (
        generic.picture(5).min(),
        generic.picture(5).max(),
    )
    assert entry["label"]["voxels_by_source_id"]["7"] == 4 * 15 * generic.SIZE[2]
    assert entry["changes"] == []
    assert len(log["folds"]) == 2


@pytest.mark.parametrize("ending", [".png", ".tif", ".PNG", ".TIFF"])
def test_pictures_become_two_dimensional_images(ending: str, tmp_path: Path) -> None:
    generic.write_pictures(tmp_path, [1, 2, 3], ending=ending.lower())
    for path in [*tmp_path.glob("*/*.png"), *tmp_path.glob("*/*.tif*")]:
        path.rename(path.with_suffix(ending))
    folder = converted(tmp_path, "--pixel-mm", 0.7)
    image = sitk.ReadImage(str(folder / "imagesTr/2_0000.nii.gz"))
    assert image.GetDimension() == 2
    assert image.GetSpacing() == pytest.approx((0.7, 0.7))
    assert (sitk.GetArrayFromImage(image) == generic.picture(2)[0] % 256).all()
    label = sitk.ReadImage(str(folder / "labelsTr/2.nii.gz"))
    assert label.GetSize() == image.GetSize()
    assert label.GetSpacing() == image.GetSpacing()
    assert np.unique(sitk.GetArrayFromImage(label)).tolist() == [0, 1, 2, 3]
    changes = log_of(folder)["cases"]["2"]["changes"]
    assert {c["repair"] for c in changes} == {"pixel size"} | ({"letter case"} if ending.isupper() else set())
    assert "pixels of 0.7 mm" in [c["what"] for c in changes]


def test_pictures_without_a_pixel_size_say_that_mm_are_pixels(tmp_path: Path) -> None:
    folder = converted(generic.write_pictures(tmp_path, [1, 2]))
    (change,) = log_of(folder)["cases"]["1"]["changes"]
    assert change["what"] == "pixels of 1 mm"
    assert "distances in mm are distances in pixels" in change["why"]


def test_signed_tiff_and_plain_arrays(tmp_path: Path) -> None:
    for number in (1, 2):
        picture = generic.picture(number)[0] - 500
        generic.save(picture, tmp_path / f"images/{number}.tif")
        (tmp_path / "labels").mkdir(exist_ok=True)
        np.save(tmp_path / f"labels/{number}.npy", generic.mask()[0].astype(np.int64))
    generic.write_table(tmp_path / "names.csv")
    folder = converted(tmp_path)
    assert (array(folder / "imagesTr/1_0000.nii.gz") == generic.picture(1)[0] - 500).all()
    assert (array(folder / "labelsTr/1.nii.gz") > 0).sum() == (generic.mask()[0] > 0).sum()


def test_nnunet_accepts_pictures_with_a_pixel_size(tmp_path: Path) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    folder = converted(generic.write_pictures(tmp_path, [1, 2]), "--pixel-mm", 0.7)
    verify_dataset_integrity(str(folder), num_processes=1)
    data, properties = SimpleITKIO().read_images([str(folder / "imagesTr/1_0000.nii.gz")])
    assert data.shape == (1, 1, 24, 30)
    assert properties["spacing"] == pytest.approx([699.3, 0.7, 0.7])


def test_our_own_reader_takes_a_flat_image_as_one_slice(tmp_path: Path) -> None:
    folder = converted(generic.write_pictures(tmp_path, [1, 2]), "--pixel-mm", 0.7)
    image = read_image(folder / "labelsTr/1.nii.gz")
    assert image.GetSize() == (30, 24, 1)
    assert voxels(image).shape == (1, 24, 30)
    assert read_grid(folder / "labelsTr/1.nii.gz").differences(read_grid(folder / "imagesTr/1_0000.nii.gz")) == []


@pytest.mark.parametrize("ending", [".dcm", ""])
def test_dicom_series_are_test_images_in_the_order_of_their_positions(ending: str, tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    volume = generic.write_series(tmp_path / "test/patient 1", ending=ending)
    folder = converted(tmp_path, "--test-images", tmp_path / "test")
    image = sitk.ReadImage(str(folder / "imagesTs/patient_1_0000.nii.gz"))
    assert (sitk.GetArrayFromImage(image) == volume).all()
    assert image.GetSpacing() == pytest.approx((0.7, 0.7, 2.5))
    assert image.GetOrigin() == pytest.approx((-50.0, -60.0, 0.0))
    assert b"Secret" not in (folder / "imagesTs/patient_1_0000.nii.gz").read_bytes()
    assert "Secret" not in (folder / "conversion_log.json").read_text()
    assert log_of(folder)["cases"]["patient_1"]["source"]["subset"] == "test"


def test_a_folder_of_one_series_is_one_image(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    volume = generic.write_series(tmp_path / "new scan")
    folder = converted(tmp_path, "--test-images", tmp_path / "new scan")
    assert (array(folder / "imagesTs/new_scan_0000.nii.gz") == volume).all()


def test_slices_of_one_patient_stay_on_one_side_of_every_fold(tmp_path: Path) -> None:
    numbers = [100 * patient + slice_ for patient in range(1, 7) for slice_ in range(3)]
    generic.write_pictures(tmp_path, numbers)
    folder = converted(tmp_path, "--patient", r"^(\d)\d\d$")
    for split in json.loads((folder / "splits_final.json").read_text()):
        assert not {c[0] for c in split["train"]} & {c[0] for c in split["val"]}
    assert log_of(folder)["cases"]["301"]["source"]["patient"] == "3"


def test_ordered_labels_name_their_axis_and_others_do_not(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    assert dataset_json(converted(tmp_path))["spine"] == {
        "source": "generic",
        "scheme": "table",
        "ordered_labels": False,
    }
    shutil.rmtree(tmp_path / "raw")
    spine = dataset_json(converted(tmp_path, "--spine-axis", 1))["spine"]
    assert (spine["ordered_labels"], spine["cranio_caudal_axis_zyx"]) == (True, 1)


def test_an_axis_that_the_headers_contradict_is_remarked(tmp_path: Path) -> None:
    folder = converted(generic.write(tmp_path, [5, 7]), "--spine-axis", 0)
    (remark,) = log_of(folder)["cases"]["scan_05_T2"]["remarks"]
    assert "array axis 1 (z y x) runs along the body, in this dataset it is axis 0" in remark


def test_ct_is_normalised_as_ct(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    assert dataset_json(converted(tmp_path, "--ct"))["channel_names"] == {"0": "CT"}


def test_names_that_differ_by_capitals_are_paired_with_a_record(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    path = tmp_path / "labels/scan_05_seg.nii.gz"
    path.rename(path.with_name("SCAN_05_seg.NII.GZ"))
    (ending, stem) = log_of(converted(tmp_path))["cases"]["scan_05_T2"]["changes"]
    assert (ending["file"], ending["repair"]) == ("label", "letter case")
    assert stem["what"] == "SCAN_05_seg.NII.GZ taken for scan_05_seg.NII.GZ"


def test_empty_masks_are_kept_on_request(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    generic.save(np.zeros_like(generic.mask()), tmp_path / "labels/scan_05_seg.nii.gz")
    assert "nothing of the scheme 'table' is labelled" in convert(tmp_path).error
    folder = converted(tmp_path, "--keep-empty")
    assert log_of(folder)["cases"]["scan_05_T2"]["remarks"] == ["no structure is labelled"]
    assert not array(folder / "labelsTr/scan_05_T2.nii.gz").any()


def test_other_files_beside_the_images_are_passed_over(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    for name in ("README.md", "._scan_05_T2.nii.gz", "list.csv"):
        (tmp_path / "images" / name).write_text("hello")
    assert len(log_of(converted(tmp_path))["cases"]) == 2


def test_nnunet_s_own_names_lose_their_channel(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    for path in (tmp_path / "images").iterdir():
        path.rename(path.with_name(path.name.replace("_T2", "_0000")))
    for path in (tmp_path / "labels").iterdir():
        path.rename(path.with_name(path.name.replace("_seg", "")))
    assert sorted(log_of(converted(tmp_path))["cases"]) == ["scan_05", "scan_07"]


def test_dry_run_of_folders(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    ended = convert(tmp_path, "--dry-run", "--hold-out", "scan_05_T2")
    assert ended.code == 0
    assert "1 training and 1 test cases: {'hold-out': 1, 'train': 1}" in ended.out
    assert "2 images keep their bytes (copied), 0 do not" in ended.out
    assert not (tmp_path / "raw").exists()


# Real files, in place; skipped where they are absent.


def test_the_real_slices_of_the_spine(test_data: Path, tmp_path: Path) -> None:
    source = test_data / "vesal_spine2d"
    (tmp_path / "names.csv").write_text("1,disc\n2,vertebra\n")
    folders = ("--images", source / "images", "--labels", source / "masks", "--label-table", tmp_path / "names.csv")
    arguments = ("convert", "generic", *folders, "-d", 501, "--name", "Fake", "--channel", "T2", "-o", tmp_path / "raw")
    refused = nnunet_spine(*arguments, "-np", 1)
    assert refused.code == 1
    assert refused.error.startswith("nnunet_spine: 3 findings:") or "\nnnunet_spine: 3 findings:" in refused.error
    for number in (0, 5, 10):
        assert f"{source / 'masks' / f'{number}.npy'}: is empty" in refused.error
    assert nnunet_spine(*arguments, "-np", 1, "--keep-empty", "--spine-axis", 1).code == 0
    folder = tmp_path / "raw/Dataset501_Fake"
    assert dataset_json(folder)["numTraining"] == 20
    for number in (1, 2, 19):
        published = np.load(source / f"masks/{number}.npy")
        assert (array(folder / f"labelsTr/{number}.nii.gz") == published).all()
    assert log_of(folder)["summary"]["training_cases_with"] == {"disc": 17, "vertebra": 15}

    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    verify_dataset_integrity(str(folder), num_processes=1)


def test_the_real_cervical_case_with_float_labels(test_data: Path, tmp_path: Path) -> None:
    for name, file in (("images", "t2"), ("labels", "t2_seg-manual_labeled")):
        (tmp_path / name).mkdir()
        shutil.copy(test_data / f"sct_t2/{file}.nii.gz", tmp_path / name)
    (tmp_path / "names.csv").write_text("id,name\n2,C2\n3,C3\n4,C4\n5,C5\n")
    folder = converted(tmp_path, "--channel", "T2", "--spine-axis", 1)
    published = nib.load(test_data / "sct_t2/t2_seg-manual_labeled.nii.gz")
    written = nib.load(folder / "labelsTr/t2.nii.gz")
    assert written.get_data_dtype() == np.uint8
    before, after = np.asarray(published.dataobj), np.asarray(written.dataobj)
    for source_id in (2, 3, 4, 5):
        assert ((before == source_id) == (after == source_id - 1)).all()
    assert np.allclose(written.affine, published.affine, atol=1e-4)
    (change,) = log_of(folder)["cases"]["t2"]["changes"]
    assert change["what"] == "float64 read as integers"
    # The header says the same axis as the user: no remark.
    assert log_of(folder)["cases"]["t2"]["remarks"] == []


def test_the_real_dicom_slices(test_data: Path, tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    shutil.copytree(test_data / "lungmask_dcm", tmp_path / "test/chest")
    folder = converted(tmp_path, "--ct", "--test-images", tmp_path / "test")
    image = sitk.ReadImage(str(folder / "imagesTs/chest_0000.nii.gz"))
    assert image.GetSize() == (512, 512, 2)
    assert image.GetSpacing() == pytest.approx((0.625, 0.625, 1.0))
    for position in (0, 1):
        single = sitk.GetArrayFromImage(sitk.ReadImage(str(test_data / f"lungmask_dcm/{position}.dcm")))
        assert (sitk.GetArrayFromImage(image)[position] == single[0]).all()
