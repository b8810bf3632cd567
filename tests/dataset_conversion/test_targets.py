"""Targets that cannot be written: one clear message, and nothing left behind but what a rerun continues from."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import SimpleITK as sitk

from nnunet_spine_ext.data import case_writing, raw
from nnunet_spine_ext.data.geometry import read_image, write_image
from nnunet_spine_ext.errors import DataError
from tests.data import mrspineseg
from tests.dataset_conversion.published import Ended, challenge, files_below, nnunet_spine


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return challenge(tmp_path / "download").source


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 160 KB; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("no small disk: mounting needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def convert_to(root: Path, source: Path, *more: str) -> Ended:
    return nnunet_spine("convert", "mrspineseg", source, "-d", 501, "-o", root, "-np", 1, *more)


def test_existing_target_is_never_overwritten(source: Path, tmp_path: Path) -> None:
    assert convert_to(tmp_path / "raw", source).code == 0
    before = files_below(tmp_path / "raw")
    ended = convert_to(tmp_path / "raw", source)
    assert ended.code == 1
    assert f"{tmp_path / 'raw/Dataset501_MRSpineSeg'}: exists already" in ended.error
    assert "Remove it, or choose another number with -d." in ended.error
    assert files_below(tmp_path / "raw") == before


def test_a_run_killed_after_its_last_rename_is_tidied_up(source: Path, tmp_path: Path) -> None:
    assert convert_to(tmp_path / "raw", source).code == 0
    before = files_below(tmp_path / "raw")
    (tmp_path / "raw/.Dataset501_MRSpineSeg.partial").mkdir()
    assert "exists already" in convert_to(tmp_path / "raw", source).error
    assert [p.name for p in (tmp_path / "raw").iterdir()] == ["Dataset501_MRSpineSeg"]
    assert files_below(tmp_path / "raw") == before


def test_a_number_that_another_dataset_has_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "raw/Dataset501_Hearts").mkdir(parents=True)
    ended = convert_to(tmp_path / "raw", source)
    assert ended.code == 1
    assert f"{tmp_path / 'raw/Dataset501_Hearts'}: exists already: for nnU-Net only one" in ended.error


def test_a_target_below_a_file_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = convert_to(tmp_path / "file" / "raw", source)
    assert ended.code == 1
    assert f"cannot be made: {tmp_path / 'file'} is a file" in ended.error
    assert "Choose another folder" in ended.error


def test_a_read_only_target_is_refused(source: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    ended = convert_to(small_disk, source)
    assert ended.code == 1
    assert f"cannot be made: {small_disk} is read-only for you" in ended.error
    assert "Choose a folder that you may write to" in ended.error


def test_permission_that_is_missing_only_when_writing_is_one_message(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    ended = convert_to(tmp_path / "raw", source)
    assert ended.code == 1
    assert "cannot be written: permission denied. Choose a folder that you may write to" in ended.error


def test_no_variable_and_no_folder_given(source: Path) -> None:
    ended = nnunet_spine("convert", "mrspineseg", source, "-d", 501)
    assert ended.code == 1
    assert "nnUNet_raw is not set" in ended.error


def test_too_little_space_is_told_before_anything_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raw").mkdir()
    usage = shutil.disk_usage(tmp_path)._replace(free=900_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    ended = convert_to(tmp_path / "raw", source)
    assert ended.code == 1
    assert f"{tmp_path / 'raw/Dataset501_MRSpineSeg'}: needs about 1.0 MB, but only 900.0 KB are free" in ended.error
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_full_disk_is_told_and_continued_from(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def full_after_two(image: sitk.Image, path: Path) -> None:
        calls.append(path)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_image(image, path)

    with monkeypatch.context() as patch:
        patch.setattr(case_writing, "write_image", full_after_two)
        ended = convert_to(tmp_path / "raw", source)
    assert ended.code == 1
    assert "cannot be written: no space left on device. Free some space" in ended.error
    assert "keeps what is finished (3 cases). Run the command again to continue, or remove it." in ended.error
    assert [p.name for p in (tmp_path / "raw").iterdir()] == [".Dataset501_MRSpineSeg.partial"]
    assert convert_to(tmp_path / "raw", source).code == 0
    assert convert_to(tmp_path / "undisturbed", source).code == 0
    assert files_below(tmp_path / "raw") == files_below(tmp_path / "undisturbed")


def test_a_really_full_disk(source: Path, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mrspineseg.write_challenge(source, dict.fromkeys(range(20, 34), mrspineseg.COMMON))
    monkeypatch.setattr(raw, "expected_bytes", lambda _: 0)
    ended = convert_to(small_disk, source)
    assert ended.code == 1
    assert "no space left on device" in ended.error
    assert "Free some space on that disk" in ended.error
    assert [p.name for p in small_disk.iterdir()] == [".Dataset501_MRSpineSeg.partial"]
    assert not list((small_disk / ".Dataset501_MRSpineSeg.partial/scratch").iterdir())
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    assert convert_to(small_disk, source).code == 0
    assert convert_to(tmp_path / "undisturbed", source).code == 0
    assert files_below(small_disk) == files_below(tmp_path / "undisturbed")


def test_an_image_that_does_not_fit_on_the_disk_is_never_taken_for_written(source: Path, small_disk: Path) -> None:
    image = read_image(source / "MRSpineSeg_Challenge_SMU/train/MR/Case2.nii.gz")
    (small_disk / "filler").write_bytes(bytes(159_000))
    with pytest.raises(DataError, match="cannot be written"):
        write_image(image, small_disk / "image.nii.gz")
    assert [p.name for p in small_disk.iterdir()] == ["filler"]
