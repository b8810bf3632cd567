"""Every wrong zip is refused, with all findings in one go."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine_ext.data.geometry import read_image
from nnunet_spine_ext.report.submission import check_submission
from tests.report.challenge import WRONG_MAPS, packed, unpacked, with_values


def test_a_good_zip_has_no_findings(archive: Path, challenge: Path) -> None:
    assert check_submission(archive) == []
    assert check_submission(archive, challenge / "test1") == []


def findings_of(archive: Path, challenge: Path) -> dict[str, str]:
    return {str(f.file.relative_to(archive)): f.finding for f in check_submission(archive, challenge / "test1")}


WRONG_MEMBERS = WRONG_MAPS | {
    "uint16": (with_values(lambda a: a.astype(np.uint16)), "16-bit unsigned"),
    "flat": (lambda image: image[:, :, 3], "2D"),
}


@pytest.mark.parametrize(("how", "message"), WRONG_MEMBERS.values(), ids=WRONG_MEMBERS.keys())
def test_a_wrong_map_in_a_zip_is_found(
    how: Callable[[sitk.Image], sitk.Image], message: str, archive: Path, challenge: Path, tmp_path: Path
) -> None:
    results = unpacked(archive, tmp_path / "unpacked")
    file = results / "seg_case3.nii.gz"
    sitk.WriteImage(how(read_image(file)), str(file))
    found = findings_of(packed(results, tmp_path / "bad.zip"), challenge)
    assert list(found) == ["segmentation_results/seg_case3.nii.gz"]
    assert re.search(message.replace("lie on", "lie on its image"), found["segmentation_results/seg_case3.nii.gz"])


def test_missing_extra_and_misnamed_files_are_found_together(archive: Path, challenge: Path, tmp_path: Path) -> None:
    results = unpacked(archive, tmp_path / "unpacked")
    (results / "seg_case1.nii.gz").rename(results / "seg_Case1.nii.gz")
    shutil.copy(results / "seg_case3.nii.gz", results / "seg_case2.nii.gz")
    shutil.copy(results / "seg_case3.nii.gz", results / "seg_case03.nii.gz")
    (results / ".DS_Store").write_bytes(b"")
    (results / "readme.txt").write_text("")
    found = findings_of(packed(results, tmp_path / "bad.zip"), challenge)
    assert {name.split("/")[1]: finding for name, finding in found.items()} == {
        "seg_Case1.nii.gz": "has the wrong name",
        "seg_case1.nii.gz": "is missing",
        "seg_case2.nii.gz": "answers no image of the test set",
        "seg_case03.nii.gz": "has the wrong name",
        ".DS_Store": "is a hidden file",
        "readme.txt": "has the wrong name",
    }


def test_a_renamed_case_is_found(archive: Path, challenge: Path, tmp_path: Path) -> None:
    results = unpacked(archive, tmp_path / "unpacked")
    (results / "seg_case1.nii.gz").rename(results / "x")
    (results / "seg_case3.nii.gz").rename(results / "seg_case1.nii.gz")
    (results / "x").rename(results / "seg_case3.nii.gz")
    found = findings_of(packed(results, tmp_path / "bad.zip"), challenge)
    assert [f.split(" (")[0] for f in found.values()] == ["does not lie on its image"] * 2


@pytest.mark.parametrize("inside", ["", "results", "team/segmentation_results"])
def test_a_wrong_folder_is_found(inside: str, archive: Path, challenge: Path, tmp_path: Path) -> None:
    results = unpacked(archive, tmp_path / "unpacked")
    found = findings_of(packed(results, tmp_path / "bad.zip", inside=inside), challenge)
    assert len([f for f in found.values() if f.startswith("lies in the folder")]) == 3
    assert len([f for f in found.values() if f == "is missing"]) == 3


def test_the_leavings_of_a_mac_are_found(archive: Path, challenge: Path) -> None:
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("__MACOSX/segmentation_results/._seg_case1.nii.gz", b"")
    assert list(findings_of(archive, challenge).values()) == ["is a hidden file"]


def test_a_case_that_is_in_the_zip_twice_is_found(archive: Path, challenge: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        content = opened.read("segmentation_results/seg_case3.nii.gz")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("segmentation_results/seg_case3.nii.gz", content)
    assert findings_of(archive, challenge) == {"segmentation_results/seg_case3.nii.gz": "is in the zip 2 times"}


@pytest.mark.parametrize("content", [b"", b"no zip at all"])
def test_a_file_that_is_no_zip_is_one_finding(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "team.zip").write_bytes(content)
    assert [f.finding.split(" (")[0] for f in check_submission(tmp_path / "team.zip")] == ["is not a readable zip"]


def test_an_absent_zip_is_one_finding(tmp_path: Path) -> None:
    assert "No such file" in check_submission(tmp_path / "team.zip")[0].finding


def test_a_zip_without_results_is_found_without_a_reference_too(tmp_path: Path) -> None:
    zipfile.ZipFile(tmp_path / "team.zip", "w").close()
    assert [f.finding for f in check_submission(tmp_path / "team.zip")] == ["holds no result"]


def test_a_damaged_member_is_found(archive: Path, challenge: Path, tmp_path: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(bytes(content))
    found = findings_of(tmp_path / "bad.zip", challenge)
    assert len(found) == 1
    assert "cannot be taken out of the zip" in next(iter(found.values()))
