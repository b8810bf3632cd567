"""The lower-spine data of Chu et al.: names, `.nii` → `.nii.gz`, header noise, the axis that is thick, hold-out."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from dataset_conversion import convert
from dataset_conversion.chu import PAPER_TEST
from nnunet_spine_ext.data.geometry import read_grid, read_image, voxels
from tests.data import chu
from tests.dataset_conversion.published import nnunet_spine

NAMES = ["L5", "L4", "L3", "L2", "L1", "T12", "T11"]


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


def test_each_body_gets_the_id_of_its_vertebra_from_below(tmp_path: Path) -> None:
    source = chu.write(tmp_path / "download", [1, 2])
    folder = converted(source, labels="vertebrae")
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts["labels"] == {"background": 0, **{name: i for i, name in enumerate(NAMES, start=1)}}
    assert facts["spine"]["ordered_labels"] is True
    expected = np.zeros(chu.SIZE, dtype=np.uint8)
    for body in range(7):  # as tests.data.chu draws them, the first file rows being the lowest
        expected[1:5, 10:20, 4 * body + 1 : 4 * body + 3] = body + 1
    assert (np.asarray(nib.load(folder / "labelsTr/Img_01.nii.gz").dataobj) == expected).all()
    label = log_of(folder)["cases"]["Img_01"]["label"]
    assert label["voxels_by_source_id"] == {"0": 5400 - 560, "1": 560}
    assert label["voxels_by_structure"] == dict.fromkeys(NAMES, 80)


def test_bodies_are_counted_from_below_whatever_order_they_are_found_in(tmp_path: Path) -> None:
    source = chu.write(tmp_path / "download", [1, 2])
    expected = np.zeros(chu.SIZE, dtype=np.uint8)
    for body in range(7):
        expected[1:5, 10:20, 4 * body + 1 : 4 * body + 3] = body + 1
    expected[1, 22, 0:10] = expected[1, 20:22, 9] = 3  # L3 reaches below L5: a search from below meets it first
    chu.save((expected > 0).astype(np.uint8), source / "Img_01_Labels.nii")
    ids = np.asarray(nib.load(converted(source, labels="vertebrae") / "labelsTr/Img_01.nii.gz").dataobj)
    assert (ids == expected).all()


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda m: m.__setitem__((slice(1, 5), slice(10, 20), slice(5, 7)), 0), r"has 6 connected components \(80, 80"),
        (lambda m: m.__setitem__((0, 0, 29), 1), r"has 8 connected components \(1, 80, 80"),
        (
            lambda m: m.__setitem__((2, 12, slice(2, 6)), 1),
            r"has 6 connected components \(80, 80, 80, 80, 80, 162 voxels",
        ),
        (lambda m: m.__setitem__(slice(None), 0), r"has 0 connected components \(no voxels\)"),
    ],
)
def test_other_than_seven_bodies_are_refused_by_name_and_number(change: Any, finding: str, tmp_path: Path) -> None:
    source = chu.write(tmp_path / "download", [1, 2])
    mask = chu.mask()
    change(mask)
    chu.save(mask, source / "Img_02_Labels.nii")
    command = ("convert", "chu", source, "-d", 502, "-o", tmp_path / "raw", "-np", 1, "--labels")
    ended = nnunet_spine(*command, "vertebrae")
    assert ended.code == 1
    assert re.search(rf"{source / 'Img_02_Labels.nii'}: {finding}.* instead of the seven bodies T11\.\.L5", ended.error)
    assert "--labels binary" in ended.error
    assert not (tmp_path / "raw").exists()
    assert (nnunet_spine(*command, "binary").code == 0) == bool(mask.any())


def test_headers_are_corrected_only_on_request_and_on_record(tmp_path: Path) -> None:
    source = chu.write(tmp_path / "download", [1, 2], noisy=[2])
    folder = converted(source, correct_headers=True, labels="vertebrae")
    published = nib.load(source / "Img_02.nii")
    image, label = nib.load(folder / "imagesTr/Img_02_0000.nii.gz"), nib.load(folder / "labelsTr/Img_02.nii.gz")
    assert (np.asarray(image.dataobj) == np.asarray(published.dataobj)).all()
    assert nib.aff2axcodes(image.affine) == nib.aff2axcodes(label.affine) == ("R", "P", "S")
    assert np.allclose(image.affine, label.affine, atol=1e-6)
    corners = np.array([[0, 0, 0, 1], [5, 29, 29, 1]]).T
    boxes = [np.sort((affine @ corners)[:3], axis=1) for affine in (published.affine, image.affine)]
    assert np.allclose(*boxes, atol=1e-4)
    log = log_of(folder)
    assert log["cases"]["Img_01"]["changes"][0]["what"].startswith("header turned from RAS to RPS")
    assert "anterior posterior turned round" in {c["repair"] for c in log["cases"]["Img_02"]["changes"]}
    headers = {folder: json.loads((folder / "dataset.json").read_text())["spine"]["headers"]}
    other = convert("chu", source, dataset_id=503, target_root=tmp_path / "raw", processes=1)
    headers[other] = json.loads((other / "dataset.json").read_text())["spine"]["headers"]
    assert headers == {folder: "corrected", other: "as published, known to be wrong"}


def test_a_header_that_is_right_already_is_left_alone(tmp_path: Path) -> None:
    source = chu.write(tmp_path / "download", [1, 2])
    affine = np.diag([2.0, -1.25, 1.25, 1.0])
    chu.save(chu.picture(1), source / "Img_01.nii", affine)
    chu.save(chu.mask(), source / "Img_01_Labels.nii", affine)
    cases = log_of(converted(source, correct_headers=True))["cases"]
    assert cases["Img_01"]["changes"] == []
    assert cases["Img_02"]["changes"] != []


def test_headers_of_other_datasets_are_not_corrected(tmp_path: Path) -> None:
    ended = nnunet_spine("convert", "mrspineseg", tmp_path, "-d", 1, "--correct-headers")
    assert ended.code == 2
    assert "not known as wrong" in " ".join(ended.error.replace("│", " ").split())


def test_the_papers_split_holds_out_four_patients_and_leaves_nineteen_in_five_folds(tmp_path: Path) -> None:
    source = chu.write(tmp_path / "download", range(1, 24))
    ended = nnunet_spine("convert", "chu", source, "-d", 502, "-o", tmp_path, "-np", 1, "--hold-out", "paper")
    assert ended.code == 0
    folder = tmp_path / "Dataset502_ChuLowerSpine"
    held = sorted(p.name for p in (folder / "labelsTs").iterdir())
    assert held == [f"Img_{number}.nii.gz" for number in PAPER_TEST]
    splits = json.loads((folder / "splits_final.json").read_text())
    validated = sorted(case for split in splits for case in split["val"])
    assert len(splits) == 5
    assert len(validated) == len(set(validated)) == 19
    assert {len(split["val"]) for split in splits} == {3, 4}
    assert log_of(folder)["held_out"] == list(PAPER_TEST)


def test_the_four_are_those_with_the_lowest_lots() -> None:
    lots = {f"{n:02d}": hashlib.sha256(f"12345 Img_{n:02d}".encode()).hexdigest() for n in range(1, 24)}
    assert sorted(sorted(lots, key=lots.__getitem__)[:4]) == list(PAPER_TEST)


@pytest.mark.parametrize("labels", ["binary", "vertebrae"])
def test_nnunet_accepts_the_dataset(labels: str, tmp_path: Path) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    source = chu.write(tmp_path / "download", [1, 2, 3], noisy=[3])
    folder = converted(source, hold_out=["3"], labels=labels, correct_headers=labels == "vertebrae")
    verify_dataset_integrity(str(folder), num_processes=1)


def test_the_real_cases_have_seven_bodies_each_above_the_one_before(test_data: Path, tmp_path: Path) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    source = test_data / "chu_lower_spine"
    folder = convert("chu", source, dataset_id=502, target_root=tmp_path, labels="vertebrae", processes=1)
    labels = sorted((folder / "labelsTr").iterdir())
    assert len(labels) == 8
    for path in labels:
        ids = np.asarray(nib.load(path).dataobj)
        published = np.asarray(nib.load(source / path.name.replace(".nii.gz", "_Labels.nii")).dataobj)
        assert ((ids > 0) == (published == 1)).all()
        assert np.unique(ids).tolist() == list(range(8))
        heights = [np.argwhere(ids == i)[:, 2] for i in range(1, 8)]
        pairs = itertools.pairwise(heights)
        assert all(low.mean() < high.mean() and low.min() < high.min() for low, high in pairs)
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
