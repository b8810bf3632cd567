"""Every repair: what it makes of the voxels or the header, what it writes into the log, and what it leaves alone."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine_ext.data.geometry import read_grid
from nnunet_spine_ext.data.nifti_headers import quaternion_excess, straightened
from nnunet_spine_ext.data.repairs import REPAIRS, STANDARD
from tests.data import chu, generic, mrspineseg
from tests.dataset_conversion.published import Ended, generic_arguments, nnunet_spine


def convert(root: Path, *more: object) -> Ended:
    return nnunet_spine("convert", *generic_arguments(root), "-d", 501, "-o", root / "raw", "-np", 1, *more)


def changes_of(root: Path, case: str, *more: object) -> list[dict[str, str]]:
    ended = convert(root, *more)
    assert ended.code == 0, ended.error
    log = json.loads((root / "raw/Dataset501_Fake/conversion_log.json").read_text())
    return log["cases"][case]["changes"]  # type: ignore[no-any-return]


def array(root: Path, file: str) -> Any:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(root / "raw/Dataset501_Fake" / file)))


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A repairable defect of the image or the label of case 5 (volumes) or 1 (pictures)."""

    do: Callable[[Path], object]
    repair: str
    file: str
    what: str
    pictures: bool = False
    ct: bool = False


def thrice(path: Path, array: np.ndarray, channels: int = 3) -> None:
    stacked = np.stack([array] * channels, axis=-1)
    stacked[..., 3:] = 255
    generic.save(stacked, path, vector=True)


VOLUMES = {
    "float labels": Damage(
        do=lambda r: generic.save(generic.mask().astype(np.float32) + 0.0004, r / "labels/scan_05_seg.nii.gz"),
        repair="float labels",
        file="label",
        what="float32 read as integers, rounded by at most 0.0004",
    ),
    "double precision": Damage(
        do=lambda r: generic.save(generic.picture(5).astype(np.float64), r / "images/scan_05_T2.nii.gz"),
        repair="float64 image",
        file="image",
        what="stored as float32",
    ),
}
PICTURES = {
    "grey image as RGB": Damage(
        do=lambda r: thrice(r / "images/1.png", (generic.picture(1)[0] % 256).astype(np.uint8)),
        repair="equal channels",
        file="image",
        what="one of 3 channels",
        pictures=True,
    ),
    "mask as RGB": Damage(
        do=lambda r: thrice(r / "labels/1.png", generic.mask()[0]),
        repair="equal channels",
        file="label",
        what="one of 3 channels",
        pictures=True,
    ),
    "mask as RGBA": Damage(
        do=lambda r: thrice(r / "labels/1.png", generic.mask()[0], 4),
        repair="equal channels",
        file="label",
        what="one of 4 channels",
        pictures=True,
    ),
}


@pytest.mark.parametrize("kind", [*VOLUMES, *PICTURES])
def test_repaired_files_give_the_voxels_of_good_ones(kind: str, tmp_path: Path) -> None:
    damage = {**VOLUMES, **PICTURES}[kind]
    case = "1" if damage.pictures else "scan_05_T2"
    for root in (tmp_path / "good", tmp_path / "damaged"):
        generic.write_pictures(root, [1, 2]) if damage.pictures else generic.write(root, [5, 7])
    damage.do(tmp_path / "damaged")
    changes_of(tmp_path / "good", case)
    found = [c for c in changes_of(tmp_path / "damaged", case) if c["repair"] != "pixel size"]
    assert [(c["repair"], c["file"], c["what"]) for c in found] == [(damage.repair, damage.file, damage.what)]
    assert all(c["why"] for c in found)
    for file in (f"imagesTr/{case}_0000.nii.gz", f"labelsTr/{case}.nii.gz"):
        assert (array(tmp_path / "damaged", file) == array(tmp_path / "good", file)).all()


@pytest.mark.parametrize("pictures", [True, False])
def test_masks_in_black_and_white(pictures: bool, tmp_path: Path) -> None:
    generic.write_pictures(tmp_path, [1, 2]) if pictures else generic.write(tmp_path, [1, 2])
    generic.write_table(tmp_path / "names.csv", {"lung": 1})
    shape = generic.mask()[0] if pictures else generic.mask()
    paths = sorted((tmp_path / "labels").iterdir())
    generic.save((shape > 0).astype(np.uint8) * np.uint8(255), paths[0])
    generic.save((shape > 0).astype(np.uint8), paths[1])
    case = "1" if pictures else "scan_01_T2"
    found = [c["what"] for c in changes_of(tmp_path, case) if c["repair"] == "255 mask"]
    assert found == ["255 read as 1"]
    assert (array(tmp_path, f"labelsTr/{case}.nii.gz") == (shape > 0)).all()


def test_255_is_left_alone_where_the_table_knows_it(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    generic.write_table(tmp_path / "names.csv", {"small": 1, "bone": 255})
    for number in (5, 7):
        mask = (generic.mask() > 0).astype(np.uint8) * np.uint8(255)
        generic.save(mask, tmp_path / f"labels/scan_{number:02d}_seg.nii.gz")
    assert changes_of(tmp_path, "scan_05_T2") == []
    assert np.unique(array(tmp_path, "labelsTr/scan_05_T2.nii.gz")).tolist() == [0, 2]


def test_255_among_other_ids_is_no_mask_in_black_and_white(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    mask = generic.mask()
    mask[0, 0, :2] = 255
    generic.save(mask, tmp_path / "labels/scan_05_seg.nii.gz")
    assert "holds label 255 (2 voxels), but the legal ids are 0, 1, 4, 7" in convert(tmp_path).error


def test_wrapped_hounsfield_units_are_unwrapped(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    hounsfield = (generic.picture(5) - 400).astype(np.int16)
    generic.save(hounsfield.view(np.uint16), tmp_path / "images/scan_05_T2.nii.gz")
    (change,) = changes_of(tmp_path, "scan_05_T2", "--ct")
    assert change["repair"] == "wrap-around"
    assert change["what"].startswith(f"{(hounsfield < 0).sum()} values above 32767")
    assert (array(tmp_path, "imagesTr/scan_05_T2_0000.nii.gz") == hounsfield).all()


def test_large_values_of_mr_images_are_not_taken_for_wrapped_ones(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    picture = generic.picture(5).astype(np.uint16) + np.uint16(40_000)
    generic.save(picture, tmp_path / "images/scan_05_T2.nii.gz")
    assert changes_of(tmp_path, "scan_05_T2") == []
    assert array(tmp_path, "imagesTr/scan_05_T2_0000.nii.gz").min() >= 40_000


def skewed(path: Path, voxels: np.ndarray, error: float) -> np.ndarray:
    """Write NIfTI whose second axis leans by `error` towards the first; return its affine."""
    affine = np.diag([-0.5, -0.5, 4.0, 1.0])
    affine[:3, 3] = (30, 40, -50)
    affine[0, 1] = 0.5 * error
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, code=1)
    image.set_qform(None, code=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return affine


def test_axes_at_nearly_right_angles_are_straightened(tmp_path: Path) -> None:
    generic.write(tmp_path, [7])
    voxels = generic.picture(5).T
    affine = skewed(tmp_path / "images/scan_05_T2.nii.gz", voxels, 0.004)
    skewed(tmp_path / "labels/scan_05_seg.nii.gz", generic.mask().T, 0.004)
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(str(tmp_path / "images/scan_05_T2.nii.gz"))
    found = changes_of(tmp_path, "scan_05_T2")
    assert [(c["file"], c["repair"]) for c in found] == [("image", "direction"), ("label", "direction")]
    assert "cosines by at most 0.002, voxels by" in found[0]["what"]
    written = nib.load(tmp_path / "raw/Dataset501_Fake/imagesTr/scan_05_T2_0000.nii.gz")
    assert (np.asarray(written.dataobj) == voxels).all()
    # Symmetric: half of the error from each of the two axes, and the middle voxel where it was.
    cosines = written.affine[:3, :3] / np.linalg.norm(written.affine[:3, :3], axis=0)
    assert np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-6)
    middle = [*(np.array(voxels.shape) - 1) / 2, 1]
    assert np.allclose(written.affine @ middle, affine @ middle, atol=1e-3)


def test_the_shift_that_straightening_reports_is_that_of_the_worst_voxel(tmp_path: Path) -> None:
    affine = skewed(tmp_path / "a.nii", generic.picture(5).T, 0.006)
    found = straightened(tmp_path / "a.nii")
    assert found is not None
    new = np.eye(4)
    direction = np.reshape(found.image.GetDirection(), (3, 3))
    new[:3, :3] = np.diag([-1, -1, 1]) @ direction * found.image.GetSpacing()
    new[:3, 3] = np.diag([-1, -1, 1]) @ found.image.GetOrigin()
    worst = max(np.linalg.norm((new - affine) @ [*index, 1]) for index in np.ndindex(*generic.SIZE))
    assert found.shift_mm == pytest.approx(worst, rel=1e-5)


def test_axes_far_from_right_angles_are_refused(tmp_path: Path) -> None:
    generic.write(tmp_path, [7])
    skewed(tmp_path / "images/scan_05_T2.nii.gz", generic.picture(5).T, 0.05)
    skewed(tmp_path / "labels/scan_05_seg.nii.gz", generic.mask().T, 0.05)
    ended = convert(tmp_path)
    assert ended.code == 1
    assert ended.error.count("not at right angles") == 2


def with_quaternion(path: Path, excess: float) -> None:
    """Write NIfTI with a qform only, half a turn about the third axis, and stretch its quaternion."""
    voxels, affine = generic.picture(5).T, np.diag([-0.5, -0.5, 4.0, 1.0])
    image = nib.Nifti1Image(voxels, affine)
    image.set_qform(affine, code=1)
    image.set_sform(None, code=0)
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<3f", content, 256, 0, 0, np.sqrt(1 + excess))
    path.write_bytes(bytes(content))


def test_quaternions_that_nibabel_refuses_are_written_anew(tmp_path: Path) -> None:
    generic.write(tmp_path, [7])
    path = tmp_path / "images/scan_05_T2.nii"
    with_quaternion(path, 1e-5)
    generic.save(generic.mask(), tmp_path / "labels/scan_05_seg.nii.gz")
    label = sitk.ReadImage(str(tmp_path / "labels/scan_05_seg.nii.gz"))
    label.CopyInformation(sitk.ReadImage(str(path)))
    sitk.WriteImage(label, str(tmp_path / "labels/scan_05_seg.nii.gz"))
    with pytest.raises(Exception, match="w2 should be positive"):
        nib.load(path)
    (change,) = changes_of(tmp_path, "scan_05_T2")
    assert change["repair"] == "quaternion"
    assert "exceeded 1 by 1e-05" in change["what"]
    written = nib.load(tmp_path / "raw/Dataset501_Fake/imagesTr/scan_05_T2_0000.nii.gz")
    assert np.allclose(written.affine[:3, :3], np.diag([-0.5, -0.5, 4.0]), atol=1e-5)
    assert (np.asarray(written.dataobj) == generic.picture(5).T).all()


@pytest.mark.parametrize("excess", [-1e-3, 0.0, 1e-8, 1e-6, 1e-4])
def test_nibabel_s_own_verdict_on_quaternions_is_ours(excess: float, tmp_path: Path) -> None:
    with_quaternion(tmp_path / "a.nii", excess)
    try:
        nib.load(tmp_path / "a.nii")
        refused = False
    except Exception:
        refused = True
    assert (quaternion_excess(tmp_path / "a.nii") is not None) == refused


def test_a_quaternion_that_is_none_is_refused(tmp_path: Path) -> None:
    generic.write(tmp_path, [7])
    with_quaternion(tmp_path / "images/scan_05_T2.nii", 0.3)
    generic.save(generic.mask(), tmp_path / "labels/scan_05_seg.nii.gz")
    ended = convert(tmp_path)
    assert ended.code == 1
    assert "its qform is no rotation (squared length of the quaternion is 1.3)" in ended.error


def test_published_datasets_have_these_repairs_too(tmp_path: Path) -> None:
    folder = mrspineseg.write_challenge(tmp_path / "download", dict.fromkeys([2, 5], mrspineseg.COMMON))
    skew = mrspineseg.AFFINE.copy()
    skew[:3, 0] += 0.004 * skew[:3, 1]
    for path, voxels in (
        (folder / "train/MR/Case5.nii.gz", mrspineseg.picture(5)),
        (folder / "train/Mask/mask_case5.nii.gz", mrspineseg.mask(mrspineseg.COMMON)),
    ):
        image = nib.Nifti1Image(voxels, skew)
        image.set_sform(skew, code=1)
        image.set_qform(None, code=0)
        nib.save(image, path)
    ended = nnunet_spine("convert", "mrspineseg", tmp_path / "download", "-d", 501, "-o", tmp_path / "raw", "-np", 1)
    assert ended.code == 0, ended.error
    raw = tmp_path / "raw/Dataset501_MRSpineSeg"
    changes = json.loads((raw / "conversion_log.json").read_text())["cases"]["Case005"]["changes"]
    assert [c["repair"] for c in changes] == ["direction", "direction"]
    image, label = (read_grid(raw / f) for f in ("imagesTr/Case005_0000.nii.gz", "labelsTr/Case005.nii.gz"))
    assert label.differences(image, tolerance_mm=1e-5, tolerance_direction=1e-6) == []


def test_capitals_in_published_names_are_recorded(tmp_path: Path) -> None:
    chu.write(tmp_path / "download", [1, 2, 3])
    (tmp_path / "download/Img_01.nii").rename(tmp_path / "download/IMG_01.NII")
    (tmp_path / "download/Img_02_Labels.nii").rename(tmp_path / "download/Img_02_labels.nii")
    ended = nnunet_spine("convert", "chu", tmp_path / "download", "-d", 502, "-o", tmp_path / "raw", "-np", 1)
    assert ended.code == 0, ended.error
    raw = tmp_path / "raw/Dataset502_ChuLowerSpine"
    log = json.loads((raw / "conversion_log.json").read_text())
    (image,), (label,) = log["cases"]["Img_01"]["changes"], log["cases"]["Img_02"]["changes"]
    assert (image["file"], image["what"]) == ("image", "IMG_01.NII taken for Img_01.nii")
    assert (label["file"], label["what"]) == ("label", "Img_02_labels.nii taken for Img_02_Labels.nii")
    assert log["cases"]["Img_03"]["changes"] == []
    assert log["summary"]["cases_with"] == {"letter case": 2}
    written = nib.load(raw / "imagesTr/Img_01_0000.nii.gz")
    assert (np.asarray(written.dataobj) == chu.picture(1)).all()


def test_the_table_of_repairs_is_complete() -> None:
    assert set(STANDARD) <= set(REPAIRS)
    for name, repair in REPAIRS.items():
        assert repair.name == name
        assert repair.finds
        assert repair.does
        assert (repair.step is None) == (repair.of in ("name", "header"))


# The log for people, and links instead of copies.


def test_the_page_shows_cases_changes_and_checksums(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    generic.write_table(tmp_path / "names.csv", {"<b>sacrum</b> & more": 1, "L5": 4, "L4": 7})
    VOLUMES["float labels"].do(tmp_path)
    changes_of(tmp_path, "scan_05_T2")
    folder = tmp_path / "raw/Dataset501_Fake"
    page, log = (
        (folder / "conversion_log.html").read_text("utf-8"),
        json.loads((folder / "conversion_log.json").read_text()),
    )
    assert "float32 read as integers" in page
    assert "labels are integers" in page
    assert "&lt;b&gt;sacrum&lt;/b&gt; &amp; more" in page
    assert "<b>sacrum" not in page
    for case, entry in log["cases"].items():
        assert f"<td>{case}</td>" in page
        for file in (entry["image"], entry["label"], *entry["written"].values()):
            assert file["sha256"] in page
            assert file["file"] in page
    assert "http" not in page.replace("http-equiv", "")
    assert str(tmp_path) not in page


def test_links_instead_of_copies_where_nothing_changes(tmp_path: Path) -> None:
    generic.write(tmp_path, [5, 7])
    generic.save(generic.picture(7).astype(np.float64), tmp_path / "images/scan_07_T2.nii.gz")
    (tmp_path / "copied").mkdir()
    copied = nnunet_spine("convert", *generic_arguments(tmp_path), "-d", 501, "-o", tmp_path / "copied", "-np", 1)
    assert copied.code == 0
    changes_of(tmp_path, "scan_05_T2", "--link")
    linked = tmp_path / "raw/Dataset501_Fake"
    assert (linked / "imagesTr/scan_05_T2_0000.nii.gz").samefile(tmp_path / "images/scan_05_T2.nii.gz")
    assert (linked / "imagesTr/scan_07_T2_0000.nii.gz").stat().st_nlink == 1
    for path in (p for p in linked.rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "copied/Dataset501_Fake" / path.relative_to(linked)).read_bytes()


def test_a_link_that_the_system_refuses_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    generic.write(tmp_path, [5, 7])
    monkeypatch.setattr(os, "link", refuse)
    ended = convert(tmp_path, "--link")
    assert ended.code == 1
    assert "cannot be hard-linked (operation not permitted). Convert without --link" in ended.error
    assert not list((tmp_path / "raw").iterdir())


def test_a_link_to_another_disk_is_refused_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generic.write(tmp_path, [5, 7])
    stat = Path.stat

    def elsewhere(self: Path, **options: Any) -> Any:
        found = stat(self, **options)
        if "images" not in self.parts:
            return found
        values = list(found)
        values[2] = found.st_dev + 1
        return os.stat_result(values)

    monkeypatch.setattr(Path, "stat", elsewhere)
    ended = convert(tmp_path, "--link")
    assert ended.code == 1
    assert "lies on another disk than the published files" in ended.error
