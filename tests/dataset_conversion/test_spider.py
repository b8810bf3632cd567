"""SPIDER: series as cases, ids by position, vertebrae partly in view, axes, the published split, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from dataset_conversion import convert
from tests.data import spider
from tests.dataset_conversion.published import Ended, nnunet_spine

CASES = [
    "Spider001_t1",
    "Spider001_t2",
    "Spider002_t1",
    "Spider002_t2",
    "Spider003_t2",
    "Spider003_t2_SPACE",
    "Spider005_t2",
]


def converted(source: Path, **options: Any) -> Path:
    return convert("spider", source, dataset_id=506, target_root=source.parent / "raw", processes=1, **options)


def refused(source: Path, *more: object) -> Ended:
    ended = nnunet_spine("convert", "spider", source, "-d", 506, "-o", source.parent / "raw", "-np", 1, *more)
    assert ended.code == 1
    assert not (source.parent / "raw").exists()
    return ended


def log_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "conversion_log.json").read_text())  # type: ignore[no-any-return]


def in_psr(path: Path) -> NDArray[Any]:
    """Return a file's voxels (z y x of x to the back, y up, z to the right), by nibabel or plain reversal of axes."""
    return np.asarray(nib.load(path).dataobj).T


def test_every_series_is_a_case_of_its_patient(tmp_path: Path) -> None:
    folder = converted(spider.write(tmp_path / "download"))
    assert folder.name == "Dataset506_SPIDER"
    assert sorted(p.name for p in (folder / "labelsTr").iterdir()) == [f"{case}.nii.gz" for case in CASES]
    log = log_of(folder)
    assert log["cases"]["Spider003_t2_SPACE"]["source"] == {
        "number": "3_t2_SPACE",
        "patient": "Spider003",
        "subset": "training",
    }
    splits = json.loads((folder / "splits_final.json").read_text())
    assert len(splits) == 4  # patients
    for split in splits:
        assert not {case[:9] for case in split["train"]} & {case[:9] for case in split["val"]}


def test_the_published_split_is_kept_beside_the_folds(tmp_path: Path) -> None:
    source = spider.write(tmp_path / "download")
    folder = converted(source)
    published = json.loads((folder / "splits_published.json").read_text())
    validation = ["Spider002_t1", "Spider002_t2"]
    assert published == [{"train": [case for case in CASES if case not in validation], "val": validation}]
    (source / "overview.csv").unlink()
    other = convert("spider", source, dataset_id=507, target_root=tmp_path / "raw", processes=1)
    assert not (other / "splits_published.json").exists()


EXPECTED: dict[str, dict[int, str]] = {
    "all": {
        1: "vertebra 1", 2: "vertebra 2", 3: "vertebra 3", 104: "vertebra 4", 100: "spinal canal",
        201: "disc below vertebra 1", 202: "disc below vertebra 2", 203: "disc below vertebra 3",
    },
    "ignore_partial": {
        1: "vertebra 1", 2: "vertebra 2", 3: "vertebra 3", 104: "ignore", 100: "spinal canal",
        201: "disc below vertebra 1", 202: "disc below vertebra 2", 203: "disc below vertebra 3",
    },
    "tissues": {
        1: "vertebrae", 2: "vertebrae", 3: "vertebrae", 104: "vertebrae", 100: "spinal canal",
        201: "discs", 202: "discs", 203: "discs",
    },
}  # fmt: skip


@pytest.mark.parametrize("scheme", EXPECTED)
def test_published_ids_become_consecutive_ones_with_names(scheme: str, tmp_path: Path) -> None:
    folder = converted(spider.write(tmp_path / "download"), labels=scheme)
    names = json.loads((folder / "dataset.json").read_text())["labels"]
    assert sorted(names.values()) == list(range(len(names)))
    published = spider.mask()[:, ::-1]  # rows from below, as written: x P, y S, z R
    written = in_psr(folder / "labelsTr/Spider001_t1.nii.gz")
    assert set(np.unique(published)) == {0, *EXPECTED[scheme]}
    for source_id, name in EXPECTED[scheme].items():
        assert np.unique(written[published == source_id]).tolist() == [names[name]]
    assert not written[published == 0].any()


def test_axes_are_turned_by_the_header_and_voxels_stay_in_place(tmp_path: Path) -> None:
    source = spider.write(tmp_path / "download")
    las = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
    spider.save(spider.picture(0), source / "images/1_t1.mha", las)
    spider.save(spider.mask(), source / "masks/1_t1.mha", las)
    folder = converted(source)
    for case, number in (("Spider001_t1", "1_t1"), ("Spider001_t2", "1_t2")):
        before = sitk.ReadImage(str(source / f"images/{number}.mha"))
        after = sitk.ReadImage(str(folder / f"imagesTr/{case}_0000.nii.gz"))
        assert nib.aff2axcodes(nib.load(folder / f"imagesTr/{case}_0000.nii.gz").affine) == ("P", "S", "R")
        for index in ((0, 0, 0), (3, 7, 2), (23, 39, 4)):
            point = before.TransformIndexToPhysicalPoint(index)
            assert after[after.TransformPhysicalPointToIndex(point)] == before[index]
    changes = log_of(folder)["cases"]["Spider001_t1"]["changes"]
    assert [(c["file"], c["what"]) for c in changes] == [
        ("image", "axes turned from LAS to PSR"),
        ("label", "axes turned from LAS to PSR"),
    ]


def test_vertebrae_follow_one_another_along_the_axis_that_is_named(tmp_path: Path) -> None:
    folder = converted(spider.write(tmp_path / "download"))
    axis = json.loads((folder / "dataset.json").read_text())["spine"]["cranio_caudal_axis_zyx"]
    labels = in_psr(folder / "labelsTr/Spider005_t2.nii.gz")
    heights = [np.argwhere(labels == i)[:, axis].mean() for i in range(1, 5)]
    assert heights == sorted(heights)  # from below, the axis running up


def test_a_vertebra_too_high_for_its_classes_is_refused_but_not_as_tissue(tmp_path: Path) -> None:
    source = spider.write(tmp_path / "download")
    mask = spider.mask()
    mask[mask == 3] = 11
    path = spider.save(mask, source / "masks/2_t2.mha")
    assert f"{path}: holds the ids 11, but positions above 10 have no class" in refused(source).error
    assert "--labels tissues" in refused(source, "--labels", "ignore_partial").error
    assert converted(source, labels="tissues").is_dir()


@pytest.mark.parametrize("value", [26, 99, 126, 200, 226])
def test_ids_that_spider_does_not_define_are_refused(value: int, tmp_path: Path) -> None:
    source = spider.write(tmp_path / "download")
    mask = spider.mask()
    mask[0, 0, 0] = value
    path = spider.save(mask, source / "masks/2_t2.mha")
    assert f"{path}: holds label {value} (1 voxels), but the legal ids are" in refused(source).error


def test_what_is_wrong_with_the_overview_is_told_with_all_else(tmp_path: Path) -> None:
    source = spider.write(tmp_path / "download", overview=False)
    subsets = {"1": "training", "2": "validation", "3": "hidden"}
    overview = spider.write_overview(source, [s for s in spider.SERIES if s[0] in subsets], subsets)
    with overview.open("a") as file:
        file.write("1_t2,7,7,F,,validation,\n")
    (source / "masks/3_t2.mha").unlink()
    ended = refused(source)
    assert f"{source / 'images/5_t2.mha'}: has no row in overview.csv" in ended.error
    assert f"{overview}: names the subsets 'hidden' beside training and validation" in ended.error
    assert f"{overview}: puts series of Spider001 into training and validation" in ended.error
    assert f"{source / 'images/3_t2.mha'}: has no mask" in ended.error


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00broken"])
def test_an_overview_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    source = spider.write(tmp_path / "download")
    (source / "overview.csv").write_bytes(content)
    assert f"{source / 'overview.csv'}: cannot be read" in refused(source).error


def test_nnunet_accepts_the_dataset(tmp_path: Path) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    folder = converted(spider.write(tmp_path / "download"), labels="ignore_partial")
    verify_dataset_integrity(str(folder), num_processes=1)
