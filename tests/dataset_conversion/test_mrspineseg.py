"""The three MRSpineSeg releases become what their files say, checked with nibabel against the fake originals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from dataset_conversion import DATASETS, convert
from nnunet_spine_ext.data.cropping import read_crops
from nnunet_spine_ext.data.geometry import Grid, read_grid, read_image, voxels
from nnunet_spine_ext.data.phantom import write_phantom
from nnunet_spine_ext.errors import DataError
from tests.data import mrspineseg

NAMES = ["S", "L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9"]
DISCS = ["L5/S", "L4/L5", "L3/L4", "L2/L3", "L1/L2", "T12/L1", "T11/T12", "T10/T11", "T9/T10"]


def converted(source: Path, **options: Any) -> Path:
    return convert("mrspineseg", source, dataset_id=501, target_root=source.parent / "raw", processes=1, **options)


def log_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "conversion_log.json").read_text())  # type: ignore[no-any-return]


def dataset_json(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "dataset.json").read_text())  # type: ignore[no-any-return]


def names_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    cases: dict[int, Collection[int]] = dict.fromkeys([2, 5, 12, 215], mrspineseg.COMMON)
    cases[8] = mrspineseg.EVERYTHING
    mrspineseg.write_challenge(tmp_path / "download", cases, test1=[96, 3], test2=[4])
    return tmp_path / "download"


def test_every_case_goes_where_nnunet_wants_it(challenge: Path) -> None:
    folder = converted(challenge)
    training = ["Case002", "Case005", "Case008", "Case012", "Case215"]
    assert folder.name == "Dataset501_MRSpineSeg"
    assert names_in(folder / "imagesTr") == [f"{case}_0000.nii.gz" for case in training]
    assert names_in(folder / "labelsTr") == [f"{case}.nii.gz" for case in training]
    assert names_in(folder / "imagesTs") == [f"{case}_0000.nii.gz" for case in ("Case003", "Case004", "Case096")]
    assert names_in(folder) == [
        "conversion_log.html",
        "conversion_log.json",
        "dataset.json",
        "imagesTr",
        "imagesTs",
        "labels.ctbl",
        "labels.label",
        "labelsTr",
        "splits_final.json",
    ]


def test_log_knows_the_published_name_and_set_of_each_case(challenge: Path) -> None:
    cases = log_of(converted(challenge))["cases"]
    assert cases["Case096"]["source"] == {"number": "96", "patient": "Case096", "subset": "test1"}
    assert cases["Case004"]["source"]["subset"] == "test2"
    assert cases["Case012"]["image"]["file"] == "MRSpineSeg_Challenge_SMU/train/MR/Case12.nii.gz"
    assert cases["Case012"]["label"]["file"] == "MRSpineSeg_Challenge_SMU/train/Mask/mask_case12.nii.gz"
    assert cases["Case012"]["image"]["orientation"] == "PSR"
    assert cases["Case012"]["image"]["dtype"] == "int16"
    assert cases["Case012"]["label"]["dtype"] == "uint16"
    assert cases["Case096"]["label"] is None


def test_log_counts_structures(challenge: Path) -> None:
    log = log_of(converted(challenge))
    counts = dict.fromkeys(NAMES + DISCS, 5) | {"T10": 1, "T9": 1, "T10/T11": 1, "T9/T10": 1}
    assert log["summary"]["training_cases_with"] == counts
    # 8 columns, 2 rows, 4 slices each (see the fake mask).
    assert log["cases"]["Case002"]["label"]["voxels_by_structure"]["L5/S"] == 64
    assert log["summary"]["subsets"] == {"test1": 2, "test2": 1, "train": 5}


@pytest.mark.parametrize("inside", ["MRSpineSeg_Challenge_SMU", "MRI_train", "."])
def test_challenge_is_found_inside_the_folder_given(inside: str, tmp_path: Path) -> None:
    mrspineseg.write_challenge(tmp_path / "download", dict.fromkeys([2, 5], mrspineseg.COMMON), inside=inside)
    assert len(log_of(converted(tmp_path / "download"))["cases"]) == 2


def test_names_are_matched_whatever_their_case(challenge: Path) -> None:
    mr, masks = (challenge / "MRSpineSeg_Challenge_SMU/train" / name for name in ("MR", "Mask"))
    (mr / "Case12.nii.gz").rename(mr / "case12.nii.gz")
    (masks / "mask_case12.nii.gz").rename(masks / "Mask_Case12.nii.gz")
    masks.rename(masks.with_name("MASK"))
    assert "Case012" in log_of(converted(challenge))["cases"]


def test_hidden_files_of_other_systems_are_no_cases(challenge: Path) -> None:
    mr = challenge / "MRSpineSeg_Challenge_SMU/train/MR"
    (mr / "._Case2.nii.gz").write_bytes(b"resource fork")
    (mr / "readme.txt").touch()
    assert len(log_of(converted(challenge))["cases"]) == 8


EXPECTED_NAMES = {
    "all": NAMES + DISCS,
    "vertebrae": NAMES,
    "paper004": ["S", "L5", "L4", "L3", "L2", "L1", "T12", "T11"],
    "binary": ["spine"],
}


@pytest.mark.parametrize("scheme", EXPECTED_NAMES)
def test_labels_of_each_scheme(scheme: str, challenge: Path) -> None:
    folder = converted(challenge, labels=scheme)
    expected = dict(enumerate(["background", *EXPECTED_NAMES[scheme]]))
    assert dataset_json(folder)["labels"] == {name: i for i, name in expected.items()}
    assert dataset_json(folder)["spine"] == {
        "source": "mrspineseg",
        "scheme": scheme,
        "ordered_labels": scheme != "binary",
        "cranio_caudal_axis_zyx": 1,
    }
    published = nib.load(challenge / "MRSpineSeg_Challenge_SMU/train/Mask/mask_case8.nii.gz").get_fdata()
    written = nib.load(folder / "labelsTr/Case008.nii.gz")
    assert written.get_data_dtype() == np.uint8
    of = {"all": range(1, 20), "vertebrae": range(1, 11), "paper004": range(1, 9)}
    table = {i: i for i in of[scheme]} if scheme in of else dict.fromkeys(range(1, 11), 1)
    for source_id in range(20):
        there = published == source_id
        assert there.any()
        assert np.unique(np.asarray(written.dataobj)[there]).tolist() == [table.get(source_id, 0)]


def test_default_scheme_is_all(challenge: Path) -> None:
    assert dataset_json(converted(challenge))["spine"]["scheme"] == "all"


def test_cranio_caudal_axis_is_the_one_along_which_the_fake_structures_follow_one_another(challenge: Path) -> None:
    folder = converted(challenge)
    labels = voxels(read_image(folder / "labelsTr/Case008.nii.gz"))
    centres = [np.argwhere(labels == i).mean(axis=0) for i in range(1, 11)]
    extent = np.ptp(centres, axis=0)
    assert int(np.argmax(extent)) == dataset_json(folder)["spine"]["cranio_caudal_axis_zyx"]


def test_images_are_copied_byte_by_byte(challenge: Path) -> None:
    folder = converted(challenge)
    source = challenge / "MRSpineSeg_Challenge_SMU/test1/MR/Case96.nii.gz"
    assert (folder / "imagesTs/Case096_0000.nii.gz").read_bytes() == source.read_bytes()
    entry = log_of(folder)["cases"]["Case096"]
    assert entry["image"]["sha256"] == entry["written"]["image"]["sha256"]


def test_label_and_image_have_one_header_although_the_original_has_an_sform_only(challenge: Path) -> None:
    folder = converted(challenge)
    image, label = read_grid(folder / "imagesTr/Case002_0000.nii.gz"), read_grid(folder / "labelsTr/Case002.nii.gz")
    assert label.differences(image, tolerance_mm=1e-5, tolerance_direction=1e-6) == []
    assert nib.aff2axcodes(nib.load(folder / "labelsTr/Case002.nii.gz").affine) == ("P", "S", "R")
    assert log_of(folder)["cases"]["Case002"]["changes"] == []


def test_header_noise_is_repaired_and_recorded(challenge: Path) -> None:
    affine = mrspineseg.AFFINE.copy()
    affine[:3, 2] *= 1.0001
    masks = challenge / "MRSpineSeg_Challenge_SMU/train/Mask"
    mrspineseg.save(mrspineseg.mask(mrspineseg.COMMON), masks / "mask_case5.nii.gz", affine)
    folder = converted(challenge)
    image, label = read_grid(folder / "imagesTr/Case005_0000.nii.gz"), read_grid(folder / "labelsTr/Case005.nii.gz")
    assert label.differences(image, tolerance_mm=1e-5, tolerance_direction=1e-6) == []
    (change,) = log_of(folder)["cases"]["Case005"]["changes"]
    # Three steps between four slices, each 0.0001 of a voxel too long.
    assert "off by at most 0.0003 voxels" in change["what"]
    assert log_of(folder)["summary"]["cases_with_changes"] == 1


def test_float_labels_near_integers_are_read_and_recorded(challenge: Path) -> None:
    masks = challenge / "MRSpineSeg_Challenge_SMU/train/Mask"
    mask = mrspineseg.mask(mrspineseg.COMMON).astype(np.float32)
    mask[mask == 3] = 2.9996
    mrspineseg.save(mask, masks / "mask_case5.nii.gz")
    folder = converted(challenge)
    labels = np.asarray(nib.load(folder / "labelsTr/Case005.nii.gz").dataobj)
    assert (labels == mrspineseg.mask(mrspineseg.COMMON)).all()
    (change,) = log_of(folder)["cases"]["Case005"]["changes"]
    assert change["what"] == "float32 read as integers, rounded by at most 0.0004"


def test_float64_images_are_written_as_float32_and_recorded(challenge: Path) -> None:
    picture = mrspineseg.picture(5).astype(np.float64) / 3
    mrspineseg.save(picture, challenge / "MRSpineSeg_Challenge_SMU/train/MR/Case5.nii.gz")
    folder = converted(challenge)
    written = nib.load(folder / "imagesTr/Case005_0000.nii.gz")
    assert written.get_data_dtype() == np.float32
    assert (np.asarray(written.dataobj) == picture.astype(np.float32)).all()
    assert log_of(folder)["cases"]["Case005"]["changes"][0]["what"] == "stored as float32"


def test_image_that_is_not_compressed_in_spite_of_its_name_is_compressed(challenge: Path) -> None:
    path = challenge / "MRSpineSeg_Challenge_SMU/train/MR/Case5.nii.gz"
    mrspineseg.save(mrspineseg.picture(5), path.with_name("plain.nii"))
    path.with_name("plain.nii").replace(path)
    folder = converted(challenge)
    written = nib.load(folder / "imagesTr/Case005_0000.nii.gz")
    assert (np.asarray(written.dataobj) == mrspineseg.picture(5)).all()


def test_odd_orientation_is_kept_with_a_remark(challenge: Path) -> None:
    affine = mrspineseg.AFFINE[:, [1, 0, 2, 3]]
    mrspineseg.save(mrspineseg.picture(4), challenge / "MRSpineSeg_Challenge_SMU/test2/MR/Case4.nii.gz", affine)
    (remark,) = log_of(converted(challenge))["cases"]["Case004"]["remarks"]
    assert "by its header (SPR) array axis 2 (z y x) runs along the body, in this dataset it is axis 1" in remark


def test_crop_removes_background_only_and_is_undone_exactly(challenge: Path) -> None:
    folder = converted(challenge, crop=True)
    crops = read_crops(folder / "crops.json")
    assert sorted(crops) == ["Case002", "Case003", "Case004", "Case005", "Case008", "Case012", "Case096", "Case215"]
    for case, original in (("Case008", "train/MR/Case8"), ("Case096", "test1/MR/Case96")):
        source = read_image(challenge / f"MRSpineSeg_Challenge_SMU/{original}.nii.gz")
        part = "Tr" if case == "Case008" else "Ts"
        written = read_image(folder / f"images{part}/{case}_0000.nii.gz")
        assert written.GetSize()[0] < source.GetSize()[0]
        assert written.GetSize()[1:] == source.GetSize()[1:]
        restored = crops[case].undo(written)
        assert (voxels(restored) == voxels(source)).all()
        assert Grid.of(restored) == Grid.of(source)
    label = read_image(folder / "labelsTr/Case008.nii.gz")
    assert (mrspineseg.mask(range(1, 20)) == voxels(crops["Case008"].undo(label)).T).all()
    changes = log_of(folder)["cases"]["Case008"]["changes"]
    assert [change["file"] for change in changes] == ["image and label"]


def test_a_crop_that_finds_nothing_leaves_the_bytes_alone(challenge: Path) -> None:
    path = challenge / "MRSpineSeg_Challenge_SMU/train/MR/Case5.nii.gz"
    mrspineseg.save(np.random.default_rng(0).integers(500, 900, mrspineseg.SIZE).astype(np.int16), path)
    folder = converted(challenge, crop=True)
    assert (folder / "imagesTr/Case005_0000.nii.gz").read_bytes() == path.read_bytes()
    crop = read_crops(folder / "crops.json")["Case005"]
    assert crop.size_xyz == crop.source.size_xyz


def test_without_crop_there_is_no_table_of_crops(challenge: Path) -> None:
    assert not (converted(challenge) / "crops.json").exists()


def test_folds_hold_every_case_once_and_spread_the_rare_ones(tmp_path: Path) -> None:
    cases: dict[int, Collection[int]] = dict.fromkeys(range(2, 22), mrspineseg.COMMON)
    for number in (3, 4, 8, 9, 12):
        cases[number] = mrspineseg.EVERYTHING
    mrspineseg.write_challenge(tmp_path / "download", cases)
    folder = converted(tmp_path / "download")
    splits = json.loads((folder / "splits_final.json").read_text())
    everyone = [f"Case{n:03d}" for n in cases]
    assert sorted(case for split in splits for case in split["val"]) == everyone
    for split in splits:
        assert sorted(split["train"] + split["val"]) == everyone
        assert len(split["val"]) == 4
        assert len({"Case003", "Case004", "Case008", "Case009", "Case012"} & set(split["val"])) == 1
    assert [fold["T9"] for fold in log_of(folder)["folds"]] == [1] * 5


def test_folds_do_not_depend_on_the_scheme(tmp_path: Path) -> None:
    cases: dict[int, Collection[int]] = dict.fromkeys(range(2, 22), mrspineseg.COMMON)
    for number in (3, 4, 8, 9, 12):
        cases[number] = mrspineseg.EVERYTHING
    mrspineseg.write_challenge(tmp_path / "download", cases)
    splits = set()
    for number, scheme in enumerate(EXPECTED_NAMES, start=1):
        folder = convert(
            "mrspineseg",
            tmp_path / "download",
            dataset_id=number,
            labels=scheme,
            target_root=tmp_path / "raw",
            processes=1,
        )
        splits.add((folder / "splits_final.json").read_text())
    assert len(splits) == 1


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_labels_of_any_type_become_the_same_bytes(dtype: str, challenge: Path) -> None:
    folder = challenge / "MRSpineSeg_Challenge_SMU/train/Mask"
    mrspineseg.save(mrspineseg.mask(mrspineseg.COMMON).astype(dtype), folder / "mask_case5.nii.gz")
    written = converted(challenge) / "labelsTr"
    assert (written / "Case005.nii.gz").read_bytes() == (written / "Case002.nii.gz").read_bytes()


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "u4", "i8", "u8", "f4"])
def test_images_keep_their_type(dtype: str, challenge: Path) -> None:
    picture = (mrspineseg.picture(5) % 250).astype(dtype)
    mrspineseg.save(picture, challenge / "MRSpineSeg_Challenge_SMU/train/MR/Case5.nii.gz")
    written = nib.load(converted(challenge, crop=True) / "imagesTr/Case005_0000.nii.gz")
    assert written.get_data_dtype() == np.dtype(dtype)
    assert np.asarray(written.dataobj).sum() == picture.sum()


def test_binary_sibling_allows_the_binary_scheme_only(tmp_path: Path) -> None:
    mrspineseg.write_sibling(tmp_path / "download", [1, 2, 3], test=[196])
    folder = converted(tmp_path / "download")
    assert folder.name == "Dataset501_SpineSagT2W"
    assert dataset_json(folder)["labels"] == {"background": 0, "spine": 1}
    assert dataset_json(folder)["spine"]["ordered_labels"] is False
    assert names_in(folder / "imagesTs") == ["Case196_0000.nii.gz"]
    labels = np.asarray(nib.load(folder / "labelsTr/Case002.nii.gz").dataobj)
    assert (labels == (mrspineseg.mask(range(1, 11)) > 0)).all()


def test_course_release_has_labels_for_its_test_set(tmp_path: Path) -> None:
    mrspineseg.write_course(tmp_path / "download", [1, 2, 3], test=[161, 162])
    folder = converted(tmp_path / "download")
    assert folder.name == "Dataset501_MRSpineSegCourse"
    assert names_in(folder / "labelsTs") == ["Case161.nii.gz", "Case162.nii.gz"]
    assert dataset_json(folder)["numTraining"] == 3
    assert log_of(folder)["cases"]["Case161"]["source"]["subset"] == "test"
    labels = np.asarray(nib.load(folder / "labelsTs/Case161.nii.gz").dataobj)
    assert (labels == mrspineseg.mask(mrspineseg.COMMON)).all()


def test_course_release_as_downloaded_in_parts(tmp_path: Path) -> None:
    mrspineseg.write_course_parts(tmp_path / "download", [1, 2, 3, 4], test=[201])
    folder = converted(tmp_path / "download")
    assert folder.name == "Dataset501_MRSpineSegCourse"
    assert names_in(folder / "labelsTr") == [f"Case00{n}.nii.gz" for n in range(1, 5)]
    assert names_in(folder / "imagesTs") == ["Case201_0000.nii.gz"]


def test_two_releases_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    mrspineseg.write_challenge(tmp_path / "download", dict.fromkeys([2, 5], mrspineseg.COMMON))
    mrspineseg.write_sibling(tmp_path / "download", [1, 2])
    finding = r"holds 2 releases: challenge in MRSpineSeg_Challenge_SMU/, SpineSagT2Wdataset3 in SpineSagT2Wdataset3/"
    with pytest.raises(DataError, match=finding):
        converted(tmp_path / "download")
    shutil.move(tmp_path / "download/SpineSagT2Wdataset3/train", tmp_path / "download/MRSpineSeg_Challenge_SMU/more")
    assert converted(tmp_path / "download").name == "Dataset501_MRSpineSeg"


def test_facts_name_licence_citation_and_where_to_ask(challenge: Path) -> None:
    written = dataset_json(converted(challenge))
    assert written["licence"] == DATASETS["mrspineseg"].licence
    assert "262-273, 2021" in written["citation"]
    assert written["reference"].startswith("https://")
    assert written["channel_names"] == {"0": "T2"}
    assert (written["numTraining"], written["file_ending"]) == (5, ".nii.gz")


def test_nnunet_accepts_the_dataset(challenge: Path) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import check_cases, verify_labels
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    folder = converted(challenge, crop=True)
    for case in ("Case002", "Case008"):
        image, label = (str(folder / name) for name in (f"imagesTr/{case}_0000.nii.gz", f"labelsTr/{case}.nii.gz"))
        assert check_cases([image], label, 1, SimpleITKIO)
        assert verify_labels(label, SimpleITKIO, list(range(20)))


def test_the_real_header_of_the_family_survives(test_data: Path, tmp_path: Path) -> None:
    mask = nib.load(test_data / "mrspineseg_mask_case1/mask_case1.nii.gz")
    folder = tmp_path / "download/SpineSagT2Wdataset3/train"
    for name in ("image", "groundtruth"):
        (folder / name).mkdir(parents=True)
    original = np.asarray(mask.dataobj)
    for number in (1, 2):
        nib.save(mask, folder / f"groundtruth/mask_case{number}.nii.gz")
        picture = original.astype(np.int16) * 500 + np.arange(12, dtype=np.int16)
        nib.save(
            nib.Nifti1Image(picture, mask.affine, mask.header, dtype=np.int16), folder / f"image/Case{number}.nii.gz"
        )
    written = converted(tmp_path / "download")
    label = nib.load(written / "labelsTr/Case001.nii.gz")
    assert (np.asarray(label.dataobj) == original).all()
    assert np.allclose(label.affine, mask.affine, atol=1e-4)
    assert log_of(written)["cases"]["Case001"]["image"]["orientation"] == "PSR"
    assert log_of(written)["cases"]["Case001"]["remarks"] == []


def test_only_a_phantom_is_marked_as_synthetic(challenge: Path, tmp_path: Path) -> None:
    assert "synthetic" not in dataset_json(converted(challenge))["spine"]
    (tmp_path / "phantom").mkdir()
    write_phantom(tmp_path / "phantom" / "made", cases=2, test_cases=0, size=64, slices=8)
    assert dataset_json(converted(tmp_path / "phantom" / "made"))["spine"]["synthetic"] is True
