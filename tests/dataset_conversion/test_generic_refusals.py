"""What `convert generic` refuses besides what every converter does: names, formats, series, tables."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.data import generic
from tests.dataset_conversion.broken_generic import (
    Broken,
    all_labels,
    as_format,
    broken_series,
    colours,
    copied,
    cut,
    cut_as,
    cut_picture,
    double_precision,
    flat_among_volumes,
    nan_in,
    other_shape,
    pages,
    placed_label,
    removed,
    renamed,
    saved_array,
    series,
    transparent,
    two_series,
    without_images,
    written,
)
from tests.dataset_conversion.published import files_below, generic_arguments, nnunet_spine

TEST = ("--test-images", "{root}/test")
BROKEN = {
    "all labels called otherwise": Broken(
        damage=lambda r: all_labels(r, "{0}{0}.nii.gz"),
        finding=r"no label has the name of an image: scan_05_T2, scan_07_T2; but labels 00, 11",
        remedy="Name each label like its image",
    ),
    "one label called otherwise": Broken(
        damage=lambda r: renamed(r / "labels/scan_05_seg.nii.gz", "scan_05_mask.nii.gz"),
        finding=r"is not called like the other labels \(images are called 'CASE_t2', labels 'CASE_seg'\)",
        remedy="Add its image, rename it",
    ),
    "the image of that label": Broken(
        damage=lambda r: (renamed(r / "labels/scan_05_seg.nii.gz", "x_mask.nii.gz"), r / "images/scan_05_T2.nii.gz")[1],
        finding=r"has no label: 'scan_05_seg' is missing in labels/",
        remedy="Add its label",
    ),
    "two formats of one image": Broken(
        damage=lambda r: generic.save(generic.picture(5), r / "images/scan_05_T2.mha"),
        finding="has the same name as scan_05_T2.nii.gz",
        remedy="Keep one",
    ),
    "names that differ by capitals only": Broken(
        damage=lambda r: copied(r, "images/SCAN_05_t2.nii.gz"),
        finding="has the same name as scan_05_T2.nii.gz",
        remedy="Keep one",
    ),
    "the same image for training and test": Broken(
        damage=lambda r: copied(r, "test/scan_05_T2.nii.gz"), finding="is one of 2 images of", remedy="Keep", more=TEST
    ),
    "no images": Broken(
        damage=without_images,
        finding=r"holds no image that can be read \(it holds nothing\)",
        remedy=".nii.gz .nii .nrrd .mha .png",
    ),
    "no labels": Broken(
        damage=lambda r: all_labels(r, "{0}.nii.gz.bak"),
        finding=r"holds no image that can be read \(it holds 0.nii.gz.bak, 1.nii",
        remedy="Put files ending in",
    ),
    "a header without its voxels": Broken(
        damage=lambda r: written(r / "images/scan_09_T2.mhd", b"ObjectType = Image"),
        finding="keeps its voxels in another file",
        remedy="Convert it",
    ),
    "cut MetaImage": Broken(damage=lambda r: cut_as(r, ".mha"), finding="is cut off", remedy="copy the file again"),
    "cut NRRD": Broken(damage=lambda r: cut_as(r, ".nrrd"), finding="cannot be read", remedy="get it again"),
    "cut PNG": Broken(damage=lambda r: cut_picture(r, ".png"), finding="cannot be read", remedy="again", pictures=True),
    "cut TIFF": Broken(
        damage=lambda r: cut_picture(r, ".tif"), finding="cannot be read", remedy="again", pictures=True
    ),
    "cut array": Broken(
        damage=lambda r: cut(saved_array(r, generic.mask()[0])), finding="cannot be read", remedy="again", pictures=True
    ),
    "array of objects": Broken(
        damage=lambda r: saved_array(r, np.array([[{}]])), finding="cannot be read", remedy="again", pictures=True
    ),
    "array of text": Broken(
        damage=lambda r: saved_array(r, np.array([["a"]])), finding="cannot be read", remedy="again", pictures=True
    ),
    "array with three axes": Broken(
        damage=lambda r: saved_array(r, generic.mask()),
        finding="holds an array of 3 dimensions",
        remedy="save volumes as NIfTI",
        pictures=True,
    ),
    "web page as PNG": Broken(
        damage=lambda r: written(r / "images/1.png", b"<html>log in</html>"),
        finding="cannot be read",
        remedy="again",
        pictures=True,
    ),
    "empty NRRD": Broken(
        damage=lambda r: written(removed(r / "images/scan_05_T2.nii.gz").with_name("scan_05_T2.nrrd"), b""),
        finding="is empty",
        remedy="again",
    ),
    "NaN in MetaImage": Broken(
        damage=lambda r: nan_in(r, ".mha"), finding="1 voxels that are NaN or infinite", remedy="Replace them"
    ),
    "NaN in NRRD": Broken(
        damage=lambda r: nan_in(r, ".nrrd"), finding="1 voxels that are NaN or infinite", remedy="Replace them"
    ),
    "coloured picture": Broken(
        damage=lambda r: colours(r, "images/1.png"),
        finding="holds colours",
        remedy="one value per pixel",
        pictures=True,
    ),
    "coloured mask": Broken(
        damage=lambda r: colours(r, "labels/1.png"),
        finding="holds colours",
        remedy="one value per pixel",
        pictures=True,
    ),
    "transparent mask": Broken(
        damage=transparent, finding="is transparent in places", remedy="without an alpha", pictures=True
    ),
    "several pages": Broken(damage=pages, finding="holds 5 pages", remedy="Save each page", pictures=True),
    "64-bit TIFF": Broken(damage=double_precision, finding="cannot be read .*64-bit", remedy="again", pictures=True),
    "mask of another size": Broken(
        damage=other_shape, finding=r"has size \(29, 24, 1\) but its image \(30, 24, 1\)", remedy="both", pictures=True
    ),
    "mask of grey values": Broken(
        damage=lambda r: as_format(r, (np.arange(720) % 250).reshape(24, 30).astype(np.uint8), "labels/1.png"),
        finding=r"holds label 2 \(3 voxels\), .* and 241 other ids, but the legal ids are 0, 1, 4, 7",
        remedy="Correct the mask",
        pictures=True,
    ),
    "mask with a place, image without": Broken(
        damage=placed_label,
        finding="cannot be laid over its image: it says where its voxels lie, its image does not",
        remedy="in the same format",
        pictures=True,
    ),
    "a slice among volumes": Broken(
        damage=flat_among_volumes,
        finding="is a 2D image, but 1 images of this dataset are 3D",
        remedy="Make two datasets",
    ),
    "slices missing from a series": Broken(
        damage=lambda r: series(r, positions_mm=(0.0, 2.5, 7.5)),
        finding=r"has slices at uneven distances: 5.000 mm from .* to .*, 3.750 mm elsewhere|2.500 mm from",
        remedy="export the series again",
        more=TEST,
    ),
    "slices twice in a series": Broken(
        damage=lambda r: series(r, positions_mm=(0.0, 2.5, 2.5, 5.0, 7.5)),
        finding="has slices at uneven distances: 0.000 mm from",
        remedy="there twice",
        more=TEST,
    ),
    "tilted series": Broken(
        damage=lambda r: series(r, sideways_mm=0.4), finding="is a tilted stack", remedy="gantry tilt", more=TEST
    ),
    "two series in one folder": Broken(
        damage=two_series, finding="holds 2 DICOM series", remedy="a folder of its own", more=TEST
    ),
    "series that cannot be read": Broken(
        damage=broken_series, finding="holds no DICOM series that can be read", remedy="Export it again", more=TEST
    ),
    "8-bit copy of a CT": Broken(
        damage=lambda r: as_format(r, (generic.picture(5) % 256).astype(np.uint8), "images/scan_05_T2.nii.gz"),
        finding=r"holds uint8 values 0\.\.25\d: a copy for the screen",
        remedy="Get the original CT",
        more=("--ct",),
    ),
    "8-bit copy of a CT in 16 bits": Broken(
        damage=lambda r: as_format(r, generic.picture(5) % 256, "images/scan_05_T2.nii.gz"),
        finding="no Hounsfield units",
        remedy="Get the original CT",
        more=("--ct",),
    ),
    "a name without patient": Broken(
        damage=lambda r: r / "images/scan_05_T2.nii.gz",
        finding="its name scan_05_T2 holds no patient",
        remedy="Correct --patient",
        more=("--patient", "sub-(\\d+)"),
    ),
    "no such test folder": Broken(
        damage=lambda r: r / "test", finding="no such folder", remedy="Name the folder", more=TEST
    ),
    "one folder for two things": Broken(
        damage=lambda r: r / "images",
        finding="is named for two things at once",
        remedy="folders of their own",
        more=("--test-images", "{root}/images"),
    ),
    "no label table": Broken(
        damage=lambda r: removed(r / "names.csv"), finding="is no label table .*No such file", remedy="Write a CSV"
    ),
    "label table without ids": Broken(
        damage=lambda r: written(r / "names.csv", b"id,name\nx,L5\n"),
        finding="'x' .of 'L5'. is no id",
        remedy="Correct",
    ),
    "label table with an id twice": Broken(
        damage=lambda r: written(r / "names.csv", b"1,L5\n1,L4\n"), finding="the id 1 is there twice", remedy="Correct"
    ),
    "label table with a name twice": Broken(
        damage=lambda r: written(r / "names.csv", b"1,L5\n2,L5\n"), finding="'L5' is there twice", remedy="Correct"
    ),
    "label table with short lines": Broken(
        damage=lambda r: written(r / "names.csv", b"1,L5\n2\n"), finding="'2' has too few columns", remedy="Write a CSV"
    ),
    "label table of nothing": Broken(
        damage=lambda r: written(r / "names.csv", b"0,background\n"), finding="names no structure", remedy="Correct"
    ),
    "label table of bytes": Broken(
        damage=lambda r: written(r / "names.csv", b"\xff\xfe\x00"), finding="is no label table", remedy="Write a CSV"
    ),
}


def good(root: Path, *, pictures: bool) -> Path:
    return generic.write_pictures(root, [1, 2]) if pictures else generic.write(root, [5, 7])


def convert(root: Path, raw: Path, more: tuple[str, ...] = ()) -> tuple[int, str]:
    options = [m.replace("{root}", str(root)) for m in more]
    ended = nnunet_spine("convert", *generic_arguments(root), "-d", 501, "-o", raw, "-np", 1, *options)
    assert "Traceback" not in ended.error + ended.out
    return ended.code, ended.error


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_named_and_nothing_is_written(kind: str, tmp_path: Path) -> None:
    broken, root, raw = BROKEN[kind], tmp_path / "files", tmp_path / "raw"
    file = broken.damage(good(root, pictures=broken.pictures))
    raw.mkdir()
    before = files_below(root)
    code, error = convert(root, raw, broken.more)
    assert code == 1
    lines = [line for line in error.splitlines() if line.strip().startswith(f"{file}: ")]
    assert lines, error
    assert re.search(broken.finding, lines[0])
    assert broken.remedy in lines[0]
    assert list(raw.iterdir()) == []
    assert files_below(root) == before


@pytest.mark.parametrize("pictures", [False, True])
def test_the_undamaged_files_are_accepted(pictures: bool, tmp_path: Path) -> None:
    assert convert(good(tmp_path, pictures=pictures), tmp_path / "raw")[0] == 0


def test_all_findings_come_at_once(tmp_path: Path) -> None:
    generic.write(tmp_path, [1, 2, 3, 4, 5])
    removed(tmp_path / "labels/scan_01_seg.nii.gz")
    cut(tmp_path / "images/scan_02_T2.nii.gz")
    generic.save(generic.mask() + np.uint8(9), tmp_path / "labels/scan_03_seg.nii.gz")
    written(tmp_path / "images/scan_09.hdr", b"")
    series(tmp_path, sideways_mm=0.4)
    code, error = convert(tmp_path, tmp_path / "raw", TEST)
    assert code == 1
    assert "5 findings:" in error
    for name in ("images/scan_01_T2", "images/scan_02_T2", "labels/scan_03_seg", "images/scan_09", "test/P1"):
        assert f"  {tmp_path / name}" in error
