"""Kaggle's lungs, slices and volumes: Hounsfield units kept, padding clipped, axes, folds that agree, refusals."""

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
from tests.data import lungs
from tests.dataset_conversion.published import nnunet_spine


def converted(name: str, source: Path, **options: Any) -> Path:
    number = {"lung2d": 504, "lung3d": 505}[name]
    return convert(name, source, dataset_id=number, target_root=source.parent / "raw", processes=1, **options)


def log_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "conversion_log.json").read_text())  # type: ignore[no-any-return]


def array(path: Path) -> NDArray[np.generic]:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))  # type: ignore[no-any-return]


def clipped(hounsfield: NDArray[np.int16]) -> NDArray[np.int16]:
    return np.where(hounsfield < -1024, np.int16(-1024), hounsfield)


def test_slices_keep_their_hounsfield_units_and_get_masks_of_one(tmp_path: Path) -> None:
    folder = converted("lung2d", lungs.write_slices(tmp_path / "download"))
    image, label = (
        array(folder / "imagesTr/ID_0002_Z_0162_0000.nii.gz"),
        array(folder / "labelsTr/ID_0002_Z_0162.nii.gz"),
    )
    assert image.dtype == np.int16
    assert (image == clipped(lungs.chest(2))).all()
    assert (label == (lungs.lungs() == 255)).all()
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts["channel_names"] == {"0": "CT"}
    assert facts["labels"] == {"background": 0, "lungs": 1}
    changes = {c["repair"]: c["what"] for c in log_of(folder)["cases"]["ID_0002_Z_0162"]["changes"]}
    assert changes["padding clipped"].startswith("4 voxels below -1024 HU (down to -24")
    assert changes["255 mask"] == "255 read as 1"


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.uint16])
def test_other_numbers_of_16_bits_and_more_give_the_same_slice(dtype: type[np.generic], tmp_path: Path) -> None:
    source = lungs.write_slices(tmp_path / "download")
    hounsfield = lungs.chest(2)
    stored = hounsfield.view(np.uint16) if dtype is np.uint16 else hounsfield.astype(dtype)
    lungs.save_tiff(stored, source / "2d_images" / lungs.name_2d(2))
    folder = converted("lung2d", source)
    assert (array(folder / "imagesTr/ID_0002_Z_0162_0000.nii.gz") == clipped(hounsfield)).all()
    repairs = [c["repair"] for c in log_of(folder)["cases"]["ID_0002_Z_0162"]["changes"]]
    assert ("wrap-around" in repairs) == (dtype is np.uint16)


@pytest.mark.parametrize(
    ("change", "colours", "finding"),
    [
        (lambda hu: (hu >> 8).astype(np.uint8), False, "holds uint8 values"),
        (lambda hu: np.stack([(hu >> 8).astype(np.uint8)] * 3, axis=-1), True, "a copy for the screen"),
        (lambda hu: np.stack([(hu >> s).astype(np.uint8) for s in (0, 4, 8)], axis=-1), True, "holds colours"),
        (lambda hu: (np.clip(hu, -1024, None) + 1024).astype(np.uint16), False, "but air is about -1000 HU"),
        (lambda hu: hu.astype(np.float32) / 3000, False, "but air is about -1000 HU"),
    ],
)
def test_values_that_are_no_hounsfield_units_are_refused(
    change: Any, colours: bool, finding: str, tmp_path: Path
) -> None:
    source = lungs.write_slices(tmp_path / "download")
    path = lungs.save_tiff(change(lungs.chest(2)), source / "2d_images" / lungs.name_2d(2), colours=colours)
    ended = nnunet_spine("convert", "lung2d", source, "-d", 504, "-o", tmp_path / "raw", "-np", 1)
    assert ended.code == 1
    (line,) = [line for line in ended.error.splitlines() if str(path) in line]
    assert finding in line
    assert not (tmp_path / "raw").exists()


def test_masks_in_three_equal_colours_are_accepted(tmp_path: Path) -> None:
    source = lungs.write_slices(tmp_path / "download")
    mask = np.stack([lungs.lungs()] * 3, axis=-1)
    lungs.save_tiff(mask, source / "2d_masks" / lungs.name_2d(2), colours=True)
    folder = converted("lung2d", source)
    assert (array(folder / "labelsTr/ID_0002_Z_0162.nii.gz") == (lungs.lungs() == 255)).all()


def test_the_pixel_size_is_one_or_what_the_user_says(tmp_path: Path) -> None:
    source = lungs.write_slices(tmp_path / "download")
    assert nnunet_spine("convert", "lung2d", source, "-d", 504, "-o", tmp_path, "-np", 1, "--pixel-mm", 0.7).code == 0
    image = sitk.ReadImage(str(tmp_path / "Dataset504_LungCT2D/imagesTr/ID_0002_Z_0162_0000.nii.gz"))
    assert image.GetSpacing() == pytest.approx((0.7, 0.7))
    image = sitk.ReadImage(str(converted("lung2d", source) / "imagesTr/ID_0002_Z_0162_0000.nii.gz"))
    assert image.GetSpacing() == (1.0, 1.0)


def test_volumes_get_their_axial_slices_where_others_have_them(tmp_path: Path) -> None:
    folder = converted("lung3d", lungs.write_volumes(tmp_path / "download"))
    image, label = array(folder / "imagesTr/IMG_0078_0000.nii.gz"), array(folder / "labelsTr/IMG_0078.nii.gz")
    assert (image == clipped(lungs.volume(78))).all()  # slices, rows, columns in both
    assert (label == (lungs.volume_mask() == 255)).all()
    written = nib.load(folder / "imagesTr/IMG_0078_0000.nii.gz")
    assert nib.aff2axcodes(written.affine) == ("L", "P", "S")
    assert written.header.get_zooms() == pytest.approx((0.664062, 0.664062, 2.5))
    log = log_of(folder)
    assert log["cases"]["IMG_0078"]["changes"][0]["repair"] == "axial slices last"
    assert json.loads((folder / "dataset.json").read_text())["spine"]["cranio_caudal_axis_zyx"] == 0


def test_a_volume_under_an_ordinary_header_is_left_as_it_is(tmp_path: Path) -> None:
    source = lungs.write_volumes(tmp_path / "download")
    affine = np.array([[-0.7, 0, 0, 1], [0, -0.7, 0, 2], [0, 0, 2.5, 3], [0, 0, 0, 1]])
    lungs.save(lungs.volume(2).T, source / "3d_images/IMG_0002.nii.gz", affine)
    lungs.save(lungs.volume_mask().T, source / "3d_images/MASK_0002.nii.gz", affine)
    folder = converted("lung3d", source)
    assert (array(folder / "imagesTr/IMG_0002_0000.nii.gz") == clipped(lungs.volume(2))).all()
    assert "axial slices last" not in {c["repair"] for c in log_of(folder)["cases"]["IMG_0002"]["changes"]}


def test_image_and_mask_with_mirrored_headers_stay_apart(tmp_path: Path) -> None:
    source = lungs.write_volumes(tmp_path / "download")
    path = source / "3d_images/MASK_0031.nii.gz"
    lungs.save(lungs.volume_mask(), path, lungs.AFFINE @ np.diag([-1, 1, 1, 1]))
    ended = nnunet_spine("convert", "lung3d", source, "-d", 505, "-o", tmp_path / "raw", "-np", 1)
    assert ended.code == 1
    assert f"{path}: lies up to" in ended.error


def test_a_scan_is_validated_in_the_same_fold_in_2d_and_in_3d(tmp_path: Path) -> None:
    lungs.write_slices(tmp_path / "download")
    lungs.write_volumes(tmp_path / "download")
    folds = {}
    for name in ("lung2d", "lung3d"):
        splits = json.loads((converted(name, tmp_path / "download") / "splits_final.json").read_text())
        folds[name] = [{case.split("_")[1] for case in split["val"]} for split in splits]
    assert all(len(scans) == 1 for scans in folds["lung3d"])
    assert sorted(s for scans in folds["lung3d"] for s in scans) == ["0002", "0031", "0059", "0078"]
    assert all(volumes <= slices for volumes, slices in zip(folds["lung3d"], folds["lung2d"], strict=False))
    assert all(folds["lung2d"])


def test_fewer_volumes_than_folds_leave_no_fold_empty(tmp_path: Path) -> None:
    folder = converted("lung3d", lungs.write_volumes(tmp_path / "download", [59, 78]))
    splits = json.loads((folder / "splits_final.json").read_text())
    assert [len(split["val"]) for split in splits] == [1, 1]


@pytest.mark.parametrize("name", ["ID_2_Z_0162.tif", "ID_0002_Z_0162 (1).tif", "IMG_0002.tif"])
def test_other_names_are_refused(name: str, tmp_path: Path) -> None:
    source = lungs.write_slices(tmp_path / "download")
    lungs.save_tiff(lungs.chest(2), source / "2d_images" / name)
    ended = nnunet_spine("convert", "lung2d", source, "-d", 504, "-o", tmp_path / "raw", "-np", 1)
    assert ended.code == 1
    assert f"{source / '2d_images' / name}: is not called like ID_0000_Z_0142.tif" in ended.error


@pytest.mark.parametrize("name", ["lung2d", "lung3d"])
def test_nnunet_accepts_the_datasets(name: str, tmp_path: Path) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    lungs.write_slices(tmp_path / "download")
    lungs.write_volumes(tmp_path / "download")
    held = {"lung2d": "0002_Z_0162", "lung3d": "0002"}[name]
    verify_dataset_integrity(str(converted(name, tmp_path / "download", hold_out=[held])), num_processes=1)


def test_real_lungs_of_a_ct_go_through_the_path_of_volumes(test_data: Path, tmp_path: Path) -> None:
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    source = tmp_path / "download/3d_images"
    source.mkdir(parents=True)
    published = nib.load(test_data / "totalseg_ct/example_seg.nii.gz")
    lobes = np.isin(np.asarray(published.dataobj), (10, 11, 12, 13, 14))
    for number in (2, 31):
        (source / f"IMG_{number:04d}.nii.gz").symlink_to(test_data / "totalseg_ct/example_ct_sm.nii.gz")
        mask = nib.Nifti1Image((lobes * 255).astype(np.uint8), published.affine)
        nib.save(mask, source / f"MASK_{number:04d}.nii.gz")
    folder = converted("lung3d", source.parent)
    label = nib.load(folder / "labelsTr/IMG_0002.nii.gz")
    assert (np.asarray(label.dataobj) == lobes).all()
    image = np.asarray(nib.load(folder / "imagesTr/IMG_0002_0000.nii.gz").dataobj)
    original = np.asarray(nib.load(test_data / "totalseg_ct/example_ct_sm.nii.gz").dataobj)
    assert (image == np.maximum(original, -1024)).all()
    assert image[lobes].mean() < -500
    verify_dataset_integrity(str(folder), num_processes=1)
