"""Whatever is wrong with a download: one message with file, finding and remedy, exit code 1, target untouched."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.data import mrspineseg
from tests.dataset_conversion.published import ALL, PUBLISHED, Published, nnunet_spine


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A way to break a download, and what must be said about it."""

    damage: Callable[[Published], Path]
    """Does it; returns the file that the message must name."""
    finding: str
    """Regular expression."""
    remedy: str


def _delete(path: Path) -> None:
    path.unlink()


def without_mask(p: Published) -> Path:
    p.label(5).unlink()
    return p.image(5)


def without_image(p: Published) -> Path:
    p.image(5).unlink()
    return p.label(5)


def other_shape(p: Published) -> Path:
    p.save(p.mask()[:, :-1], p.label(5), p.affine)
    return p.label(5)


def changed_label(p: Published, value: float, dtype: type[np.generic]) -> Path:
    mask = p.mask().astype(dtype)
    mask[2, 3, :2] = value
    p.save(mask, p.label(5), p.affine)
    return p.label(5)


def changed_image(p: Published, value: float, dtype: type[np.generic]) -> Path:
    picture = p.picture(5).astype(dtype)
    picture[2, 3, :2] = value
    p.save(picture, p.image(5), p.affine)
    return p.image(5)


def cut_off(p: Published, path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


def overwritten(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def bit_flipped(p: Published) -> Path:
    path = p.label(5)
    content = bytearray(path.read_bytes())
    # In the checksum of the compressed file, in the data type of the other.
    content[-6 if path.name.endswith(".gz") else 70] ^= 1
    path.write_bytes(bytes(content))
    return path


def moved(p: Published, shift_voxels: float) -> Path:
    affine = p.affine.copy()
    affine[:3, 3] += shift_voxels * affine[:3, 1]
    p.save(p.mask(), p.label(5), affine)
    return p.label(5)


def flipped(p: Published) -> Path:
    affine = p.affine.copy()
    affine[:, 0] *= -1
    p.save(p.mask(), p.label(5), affine)
    return p.label(5)


def sheared(p: Published) -> Path:
    affine = p.affine.copy()
    affine[:3, 0] += 0.1 * affine[:3, 1]
    image = nib.Nifti1Image(p.picture(5), affine)
    image.set_sform(affine, code=1)
    image.set_qform(None, code=0)
    nib.save(image, p.image(5))
    return p.image(5)


def empty_mask(p: Published) -> Path:
    p.save(np.zeros_like(p.mask()), p.label(5), p.affine)
    return p.label(5)


def constant_image(p: Published) -> Path:
    p.save(np.full_like(p.picture(5), 7), p.image(5), p.affine)
    return p.image(5)


def four_dimensions(p: Published) -> Path:
    p.save(np.stack([p.picture(5)] * 2, axis=-1), p.image(5), p.affine)
    return p.image(5)


def colours(p: Published) -> Path:
    rgb = np.zeros(p.mask().shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, p.affine), p.label(5))
    return p.label(5)


def complex_numbers(p: Published) -> Path:
    p.save(p.picture(5).astype(np.complex64), p.image(5), p.affine)
    return p.image(5)


def twice(p: Published) -> Path:
    path = p.image(5)
    copy = path.with_name(path.name.replace("5", "005"))
    copy.write_bytes(path.read_bytes())
    return copy


def strange_name(p: Published) -> Path:
    path = p.image(5)
    copy = path.with_name(path.name.replace(".nii", "_copy.nii"))
    copy.write_bytes(path.read_bytes())
    return copy


def folder_instead_of_file(p: Published) -> Path:
    p.image(5).unlink()
    p.image(5).mkdir()
    return p.image(5)


BROKEN = {
    "mask missing": Broken(damage=without_mask, finding="has no mask", remedy="Get the mask"),
    "mask without image": Broken(damage=without_image, finding="mask without image", remedy="Get the image"),
    "shape mismatch": Broken(damage=other_shape, finding=r"has size \(.*\) but its image \(", remedy="get both again"),
    "label 20": Broken(
        damage=lambda p: changed_label(p, 20, np.uint16),
        finding=r"holds label 20 \(2 voxels\), but the legal ids are",
        remedy="Correct the mask",
    ),
    "label 20 as float": Broken(
        damage=lambda p: changed_label(p, 20, np.float32), finding=r"label 20 \(2 voxels\)", remedy="Correct the mask"
    ),
    "label -1": Broken(
        damage=lambda p: changed_label(p, -1, np.int16), finding=r"label -1 \(2 voxels\)", remedy="Correct the mask"
    ),
    "label 100000": Broken(
        damage=lambda p: changed_label(p, 100_000, np.int32), finding="label 100000", remedy="Correct the mask"
    ),
    "label 2.5": Broken(
        damage=lambda p: changed_label(p, 2.5, np.float32),
        finding=r"holds label 2\.5 \(2 voxels are no whole numbers\)",
        remedy="nearest neighbour",
    ),
    "label 0.998": Broken(
        damage=lambda p: changed_label(p, 0.998, np.float64), finding=r"label 0\.998", remedy="nearest neighbour"
    ),
    "NaN in the image": Broken(
        damage=lambda p: changed_image(p, np.nan, np.float32), finding="2 voxels that are NaN", remedy="Replace them"
    ),
    "infinity in the image": Broken(
        damage=lambda p: changed_image(p, -np.inf, np.float64), finding="2 voxels that are NaN or inf", remedy="Replace"
    ),
    "NaN in the mask": Broken(
        damage=lambda p: changed_label(p, np.nan, np.float32), finding="2 voxels that are NaN", remedy="Replace them"
    ),
    "cut-off image": Broken(damage=lambda p: cut_off(p, p.image(5)), finding="is cut off", remedy="again"),
    "cut-off mask": Broken(damage=lambda p: cut_off(p, p.label(5)), finding="is cut off", remedy="again"),
    "one bit flipped": Broken(damage=bit_flipped, finding="is damaged: CRC|cannot be read", remedy="again"),
    "empty file": Broken(damage=lambda p: overwritten(p.image(5), b""), finding="is empty", remedy="again"),
    "a web page": Broken(
        damage=lambda p: overwritten(p.image(5), b"<html>please log in</html>" * 50),
        finding="cannot be read",
        remedy="get it again",
    ),
    "a folder": Broken(damage=folder_instead_of_file, finding="no such file", remedy="Check the folder"),
    "same number twice": Broken(damage=twice, finding="has the same number as", remedy="Keep one"),
    "unknown name": Broken(damage=strange_name, finding="is not called like", remedy="Rename it"),
    "mask elsewhere": Broken(
        damage=lambda p: moved(p, 12), finding=r"lies up to 12\.00 voxels beside its image", remedy="correct the header"
    ),
    "mask half a voxel off": Broken(
        damage=lambda p: moved(p, 0.5), finding=r"lies up to 0\.50 voxels beside", remedy="correct the header"
    ),
    "mask mirrored": Broken(damage=flipped, finding="direction", remedy="correct the header"),
    "axes not at right angles": Broken(damage=sheared, finding="not at right angles", remedy="sform or qform"),
    "empty mask": Broken(damage=empty_mask, finding="nothing of the scheme '.*' is labelled", remedy="Leave the case"),
    "constant image": Broken(damage=constant_image, finding="every voxel is 7", remedy="Get the image again"),
    "4D image": Broken(damage=four_dimensions, finding="4D with 1 components", remedy="Only 3D"),
    "coloured mask": Broken(damage=colours, finding="3D with 3 components", remedy="Only 3D"),
    "complex image": Broken(damage=complex_numbers, finding="complex", remedy="Only real numbers"),
}


OTHERWISE_IN_GENERIC = {
    "mask missing": ("has no label: 'scan_05_seg' is missing in labels/", "Add its label"),
    "mask without image": ("has no image: 'scan_05_t2' is missing in images/", "Add its image"),
    "same number twice": ("has no label: 'scan_0005_seg' is missing", "Add its label"),
    "unknown name": (r"is not called like the other images \(images are called 'CASE_t2'", "rename it"),
    "coloured mask": ("nothing of the scheme 'table' is labelled", "--keep-empty"),  # black in all three channels
}
NOT_IN_GENERIC = {"a folder"}
"""It may be a DICOM series."""


@pytest.mark.parametrize(
    ("dataset", "kind"),
    [(dataset, kind) for dataset in ALL for kind in BROKEN if dataset != "generic" or kind not in NOT_IN_GENERIC],
)
def test_broken_input_is_named_and_nothing_is_written(kind: str, dataset: str, tmp_path: Path) -> None:
    published = ALL[dataset](tmp_path / "download")
    broken = BROKEN[kind]
    if dataset == "generic" and kind in OTHERWISE_IN_GENERIC:
        finding, remedy = OTHERWISE_IN_GENERIC[kind]
        broken = replace(broken, finding=finding, remedy=remedy)
    file = broken.damage(published)
    raw = tmp_path / "raw"
    raw.mkdir()
    ended = nnunet_spine("convert", *published.arguments, "-d", 501, "-o", raw, "-np", 1)
    assert ended.code == 1
    (line,) = [line for line in ended.error.splitlines() if line.strip().startswith(f"{file}: ")]
    assert re.search(broken.finding, line)
    assert broken.remedy in line
    assert "Traceback" not in ended.error + ended.out
    assert list(raw.iterdir()) == []


def test_the_undamaged_downloads_are_accepted(tmp_path: Path) -> None:
    for number, (name, write) in enumerate(ALL.items(), start=1):
        published = write(tmp_path / name)
        assert nnunet_spine("convert", *published.arguments, "-d", number, "-o", tmp_path / "raw", "-np", 1).code == 0


def test_all_findings_come_at_once(tmp_path: Path) -> None:
    published = PUBLISHED["mrspineseg"](tmp_path / "download")
    files = [
        without_mask(published),
        cut_off(published, published.image(2)),
        overwritten(published.label(2), b""),
        strange_name(published),
    ]
    picture = published.picture(7).astype(np.float32)
    picture[0, 0, 0] = np.nan
    published.save(picture, published.image(7), published.affine)
    ended = nnunet_spine("convert", "mrspineseg", published.source, "-d", 501, "-o", tmp_path / "raw", "-np", 1)
    assert ended.code == 1
    assert "5 findings:" in ended.error
    for file in [*files, published.image(7)]:
        assert f"  {file}: " in ended.error


def test_a_case_in_training_and_test_set_is_refused(tmp_path: Path) -> None:
    mrspineseg.write_challenge(tmp_path, dict.fromkeys([2, 5], mrspineseg.COMMON), test1=[5])
    ended = nnunet_spine("convert", "mrspineseg", tmp_path, "-d", 501, "-o", tmp_path / "raw", "-np", 1)
    assert ended.code == 1
    assert ended.error.count("is one of 2 images of Case005") == 2


def test_a_download_without_its_folder_of_masks_is_refused(tmp_path: Path) -> None:
    folder = mrspineseg.write_challenge(tmp_path, dict.fromkeys([2, 5], mrspineseg.COMMON))
    (folder / "train" / "Mask").rename(tmp_path / "elsewhere")
    ended = nnunet_spine("convert", "mrspineseg", tmp_path, "-d", 501, "-o", tmp_path / "raw", "-np", 1)
    assert ended.code == 1
    assert "folder of masks (mask_case2.nii.gz) beside it is missing" in ended.error


def test_labels_beyond_the_binary_release_are_refused(tmp_path: Path) -> None:
    folder = mrspineseg.write_sibling(tmp_path, [1, 2])
    mrspineseg.save(mrspineseg.mask(mrspineseg.COMMON), folder / "train/groundtruth/mask_case1.nii.gz")
    ended = nnunet_spine("convert", "mrspineseg", tmp_path, "-d", 501, "-o", tmp_path / "raw", "-np", 1)
    assert ended.code == 1
    assert "but the legal ids are 0, 1" in ended.error


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_a_wrong_folder_is_told_what_was_expected_and_what_is_there(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "train" / "pictures").mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    ended = nnunet_spine("convert", dataset, tmp_path, "-d", 501, "-o", tmp_path / "raw")
    assert ended.code == 1
    assert "it holds notes.txt, train/ (pictures/)" in ended.error
    assert {"mrspineseg": "train/MR and train/Mask", "chu": "Img_XX.nii and Img_XX_Labels.nii"}[dataset] in ended.error


@pytest.mark.parametrize("dataset", PUBLISHED)
@pytest.mark.parametrize(
    ("source", "finding"), [("absent", "no such folder"), ("archive.zip", "is a file"), ("empty", "it holds nothing")]
)
def test_a_source_that_is_no_folder_or_empty(dataset: str, source: str, finding: str, tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    ended = nnunet_spine("convert", dataset, tmp_path / source, "-d", 501, "-o", tmp_path / "raw")
    assert ended.code == 1
    assert f"{tmp_path / source}: " in ended.error
    assert finding in ended.error


def test_a_crop_that_would_lose_labels_is_refused(tmp_path: Path) -> None:
    published = PUBLISHED["mrspineseg"](tmp_path / "download")
    mask = published.mask()
    mask[0, 0, 0] = 1
    published.save(mask, published.label(5), published.affine)
    ended = nnunet_spine("convert", "mrspineseg", published.source, "-d", 501, "-o", tmp_path, "-np", 1, "--crop")
    assert ended.code == 1
    assert f"{published.label(5)}: has 1 labelled voxels in the background that --crop cuts off" in ended.error
