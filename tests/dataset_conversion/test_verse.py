"""VerSe 2019 and 2020: sets, patients, orientations, ids, centroids, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from dataset_conversion import convert
from tests.data import verse
from tests.dataset_conversion.published import Ended, nnunet_spine

TRAINING = [
    "sub-gl003_dir-ax",
    "sub-verse004",
    "sub-verse010",
    "sub-verse401_split-verse253",
    "sub-verse401_split-verse254",
    "sub-verse500_dir-sag",
]
TEST = ["sub-gl195_dir-iso", "sub-verse600"]
NAMES = [*(f"C{n}" for n in range(1, 8)), *(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 7)), "T13"]


def converted(source: Path, **options: Any) -> Path:
    return convert("verse", source, dataset_id=508, target_root=source.parent / "raw", processes=1, **options)


def refused(source: Path) -> Ended:
    ended = nnunet_spine("convert", "verse", source, "-d", 508, "-o", source.parent / "raw", "-np", 1)
    assert ended.code == 1
    assert not (source.parent / "raw").exists()
    return ended


def log_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "conversion_log.json").read_text())  # type: ignore[no-any-return]


def test_scans_of_all_sets_go_where_they_were_published(tmp_path: Path) -> None:
    folder = converted(verse.write(tmp_path / "download"))
    assert sorted(p.name for p in (folder / "labelsTr").iterdir()) == [f"{case}.nii.gz" for case in TRAINING]
    assert sorted(p.name for p in (folder / "labelsTs").iterdir()) == [f"{case}.nii.gz" for case in TEST]
    published = json.loads((folder / "splits_published.json").read_text())
    assert published == [{"train": [c for c in TRAINING if c != "sub-verse010"], "val": ["sub-verse010"]}]
    splits = json.loads((folder / "splits_final.json").read_text())
    assert sorted(case for split in splits for case in split["val"]) == TRAINING
    both = {"sub-verse401_split-verse253", "sub-verse401_split-verse254"}
    assert all(both <= set(split["val"]) or both <= set(split["train"]) for split in splits)


@pytest.mark.parametrize("inside", ["", "VerSe", "VerSe/VerSe19"])
def test_the_sets_are_found_in_folders_of_folders(inside: str, tmp_path: Path) -> None:
    verse.write(
        tmp_path / "download" / inside, {"01_training": ["sub-verse004", "sub-verse005"], "03_test": ["sub-gl001"]}
    )
    assert log_of(converted(tmp_path / "download"))["summary"]["subsets"] == {"test": 1, "training": 2}


def test_one_set_may_be_named_by_itself(tmp_path: Path) -> None:
    source = verse.write(tmp_path / "download")
    folder = converted(source / "dataset-verse19training")
    assert len(list((folder / "imagesTr").iterdir())) == 3


def test_ids_keep_their_numbers_but_for_the_thirteenth_thoracic_vertebra(tmp_path: Path) -> None:
    folder = converted(verse.write(tmp_path / "download"))
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts["labels"] == {"background": 0, **{name: i for i, name in enumerate(NAMES, start=1)}}
    assert facts["channel_names"] == {"0": "CT"}
    labels = nib.load(folder / "labelsTr/sub-verse004.nii.gz")
    assert labels.get_data_dtype() == np.uint8
    assert np.unique(np.asarray(labels.dataobj)).tolist() == [0, 19, 20, 21, 26]


@pytest.mark.parametrize("scan", ["sub-verse004", "sub-gl003_dir-ax", "sub-verse500_dir-sag", "sub-verse010"])
def test_every_orientation_becomes_the_same_one(scan: str, tmp_path: Path) -> None:
    """Scans were stored as P I R, L P S, A S L and R A S; all fakes were drawn in R A S."""
    folder = converted(verse.write(tmp_path / "download"))
    number = [name for names in verse.SCANS.values() for name in names].index(scan)
    label, image = nib.load(folder / f"labelsTr/{scan}.nii.gz"), nib.load(folder / f"imagesTr/{scan}_0000.nii.gz")
    assert nib.aff2axcodes(label.affine) == nib.aff2axcodes(image.affine) == ("L", "P", "S")
    expected = verse.mask_ras()
    assert (np.asarray(image.dataobj)[::-1, ::-1] == verse.ct_ras(number)).all()
    assert (np.asarray(label.dataobj)[::-1, ::-1] == np.where(expected == 28, 26, expected)).all()
    corner = image.affine @ np.array([*np.subtract(verse.SIZE_RAS[:2], 1), 0, 1])
    assert np.allclose(corner, verse.AFFINE_RAS @ [0, 0, 0, 1], atol=1e-4)
    turned = [c for c in log_of(folder)["cases"][scan]["changes"] if c["repair"] == "axes to lps"]
    codes = verse.CODES.get(scan, "RAS")
    assert [c["what"] for c in turned] == ([] if codes == "LPS" else [f"axes turned from {codes} to LPS"] * 2)


def test_vertebrae_follow_one_another_along_the_axis_that_is_named(tmp_path: Path) -> None:
    folder = converted(verse.write(tmp_path / "download"))
    axis = json.loads((folder / "dataset.json").read_text())["spine"]["cranio_caudal_axis_zyx"]
    labels = np.asarray(nib.load(folder / "labelsTr/sub-verse500_dir-sag.nii.gz").dataobj).T
    heights = [np.argwhere(labels == i)[:, axis].mean() for i in (19, 26, 20, 21)]  # T12, T13, L1, L2
    assert heights == sorted(heights, reverse=True)


def test_centroids_that_differ_from_the_mask_are_told(tmp_path: Path) -> None:
    source = verse.write(tmp_path / "download")
    path = verse.centroids_path(source, "dataset-verse19training", "sub-verse004")
    path.write_text(json.dumps([{"direction": ["P", "I", "R"]}, *({"label": i} for i in (18, 19, 20, 21))]))
    verse.centroids_path(source, "dataset-verse19validation", "sub-verse010").unlink()
    cases = log_of(converted(source))["cases"]
    assert cases["sub-verse004"]["remarks"] == [
        "the mask holds the ids 28, which another file of the release does not name",
        "another file of the release names the ids 18, which the mask does not hold",
    ]
    assert cases["sub-verse010"]["remarks"] == cases["sub-gl003_dir-ax"]["remarks"] == []


def test_a_patient_of_the_test_set_is_not_trained_on(tmp_path: Path) -> None:
    scans = {"01_training": ["sub-verse004", "sub-verse005", "sub-gl001_dir-ax"], "03_test": ["sub-gl001_dir-sag"]}
    folder = converted(verse.write(tmp_path / "download", scans))
    assert sorted(p.name for p in (folder / "labelsTs").iterdir()) == [
        "sub-gl001_dir-ax.nii.gz",
        "sub-gl001_dir-sag.nii.gz",
    ]
    case = log_of(folder)["cases"]["sub-gl001_dir-ax"]
    assert case["source"]["subset"] == "training"
    assert "another scan of the same patient" in case["changes"][0]["why"]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    source = verse.write(tmp_path / "download")
    first, other = "dataset-verse19training", "dataset-verse20training"
    centroids = verse.centroids_path(source, first, "sub-verse004")
    centroids.write_text('{"label": 3')
    verse.label_path(source, first, "sub-verse401_split-verse253").unlink()
    verse.image_path(source, other, "sub-gl003_dir-ax").unlink()
    sacrum = verse.label_path(source, other, "sub-verse500_dir-sag")
    verse.save(verse.mask_ras([19, 26, 20]), sacrum)
    screen = verse.image_path(source, "dataset-verse20test", "sub-verse600")
    verse.save((verse.ct_ras(0) % 256).astype(np.uint8), screen)
    verse.write_scan(source, other, "sub-verse010")
    ended = refused(source)
    for file, finding in (
        (centroids, "is no list of centroids"),
        (verse.image_path(source, first, "sub-verse401_split-verse253"), "has no mask"),
        (verse.label_path(source, other, "sub-gl003_dir-ax"), "is a mask without image"),
        (sacrum, "holds label 26 ("),
        (screen, "a copy for the screen, no Hounsfield units"),
        (verse.image_path(source, other, "sub-verse010"), "is one of 2 images of sub-verse010"),
    ):
        assert f"{file}: {finding}" in ended.error.replace("holds uint8 values 0..255: ", "")


def test_a_set_whose_name_does_not_say_which_is_refused(tmp_path: Path) -> None:
    source = verse.write(tmp_path / "latest", {"part1": ["sub-verse004"], "part2": ["sub-verse005"]})
    ended = refused(source)
    assert f"{source / 'part1'}: does not say by its name" in ended.error
    assert f"{source / 'part2'}: does not say by its name" in ended.error


def test_a_set_without_masks_is_refused(tmp_path: Path) -> None:
    source = verse.write(tmp_path / "download")
    (source / "dataset-verse19training/derivatives").rename(tmp_path / "elsewhere")
    assert "folder of masks (sub-verse004_seg-vert_msk.nii.gz) beside it is missing" in refused(source).error


def test_all_vertebrae_may_be_one_structure(tmp_path: Path) -> None:
    folder = converted(verse.write(tmp_path / "download"), labels="binary")
    label = np.asarray(nib.load(folder / "labelsTr/sub-verse010.nii.gz").dataobj)
    assert (label[::-1, ::-1] == (verse.mask_ras() > 0)).all()


def test_nnunet_accepts_the_dataset(tmp_path: Path) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    folder = converted(verse.write(tmp_path / "download"))
    verify_dataset_integrity(str(folder), num_processes=1)


def as_published(data: Path, root: Path, folder: str, kind: str, suffix: str, number: int) -> None:
    """Put a real sample under VerSe's names."""
    scan = f"sub-verse{number:03d}"
    for path, file in (
        (verse.image_path(root, "01_training", scan), f"sub-{kind}_label-{number}_{suffix}.nii.gz"),
        (verse.label_path(root, "01_training", scan), f"sub-{kind}_seg-vert_label-{number}_msk.nii.gz"),
    ):
        path.parent.mkdir(parents=True)
        path.symlink_to(data / folder / file)


def test_a_real_ct_with_its_ids(test_data: Path, tmp_path: Path) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    as_published(test_data, tmp_path / "download", "tptbox_ct", "ct", "ct", 22)
    folder = converted(tmp_path / "download")
    label = np.asarray(nib.load(folder / "labelsTr/sub-verse022.nii.gz").dataobj).T
    image = nib.load(folder / "imagesTr/sub-verse022_0000.nii.gz")
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    assert np.unique(label).tolist() == [0, 21, 22, 23]
    heights = [np.argwhere(label == i)[:, 0].mean() for i in (21, 22, 23)]
    assert heights == sorted(heights, reverse=True)  # L2 above L3 above L4
    assert np.asarray(image.dataobj).T[label > 0].mean() > 100  # bone
    verify_dataset_integrity(str(folder), num_processes=1)


def test_a_real_mr_with_ids_of_its_own_is_refused(test_data: Path, tmp_path: Path) -> None:
    as_published(test_data, tmp_path / "download", "tptbox_mri", "mri", "T2w", 6)
    error = refused(tmp_path / "download").error
    assert "but the legal ids are 0, 1, 2" in error
