"""A killed conversion leaves only its hidden folder; the next run ends with the very bytes of an undisturbed one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nnunet_spine_ext.data import case_writing
from tests.conftest import REPOSITORY
from tests.data import generic, mrspineseg
from tests.dataset_conversion.published import files_below, generic_arguments, nnunet_spine

CASES = range(2, 12)
PARTIAL = ".Dataset501_MRSpineSeg.partial"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A download, large enough to be caught in the middle of a file, and how it is converted."""

    folder: Path
    arguments: tuple[object, ...]
    otherwise: tuple[object, ...]
    """The same files with other options."""


@pytest.fixture(scope="module", params=["mrspineseg", "generic"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("download")
    return challenge(folder) if request.param == "mrspineseg" else plain_folders(folder)


def challenge(folder: Path) -> Source:
    mrspineseg.write_challenge(folder, dict.fromkeys(CASES, mrspineseg.COMMON), test1=[96, 99])
    for number in CASES:  # large enough to be caught in the middle of a file
        path = folder / f"MRSpineSeg_Challenge_SMU/train/MR/Case{number}.nii.gz"
        mrspineseg.save(mrspineseg.picture(number, (192, 128, 6)), path)
        mask = mrspineseg.mask(mrspineseg.COMMON, (192, 128, 6))
        mrspineseg.save(mask, folder / f"MRSpineSeg_Challenge_SMU/train/Mask/mask_case{number}.nii.gz")
    arguments = ("mrspineseg", folder, "--crop")
    return Source(folder=folder, arguments=arguments, otherwise=(*arguments, "--labels", "binary"))


def plain_folders(folder: Path) -> Source:
    """Return the same cases under the same names as plain folders, half of them compressed NRRD."""
    for number in CASES:
        volume, mask = mrspineseg.picture(number, (192, 128, 6)).T, mrspineseg.mask(mrspineseg.COMMON, (192, 128, 6)).T
        ending = ".nrrd" if number % 2 else ".nii.gz"
        generic.save(volume, folder / f"images/Case{number:03d}{ending}")
        generic.save(mask, folder / f"labels/Case{number:03d}_seg{ending}")
        generic.save(volume, folder / f"test/Test{number:03d}{ending}")
    generic.write_table(folder / "names.csv", mrspineseg.STRUCTURE_IDS)
    arguments = generic_arguments(folder, "--test-images", folder / "test", name="MRSpineSeg")
    return Source(folder=folder, arguments=arguments, otherwise=(*arguments, "--channel", "T2"))


@pytest.fixture(scope="module")
def undisturbed(source: Source, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("undisturbed")
    assert nnunet_spine("convert", *source.arguments, "-d", 501, "-o", root, "-np", 1).code == 0
    return files_below(root)


def start(source: Source, root: Path, *, processes: int) -> subprocess.Popen[bytes]:
    arguments = ["convert", *source.arguments, "-d", "501", "-o", root, "-np", str(processes)]
    return subprocess.Popen(
        [sys.executable, "-m", "nnunet_spine_ext", *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_when(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> bool:
    """Kill the process, and nothing but it, as soon as `reached`; return whether it was still at work."""
    deadline = time.monotonic() + 60
    while process.poll() is None and not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    at_work = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return at_work


def finished(root: Path) -> int:
    return len(list((root / PARTIAL / "records").glob("*.json")))


def test_kills_at_several_moments_then_a_rerun(source: Source, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    caught = []
    for processes, moment in ((2, 0), (1, 3), (2, 8)):
        process = start(source, tmp_path, processes=processes)

        def reached(moment: int = moment) -> bool:
            return (tmp_path / PARTIAL).exists() and finished(tmp_path) >= moment

        caught.append(kill_when(process, reached))
        # Only the hidden folder, or, had the kill come too late, the whole dataset.
        assert [p.name for p in tmp_path.iterdir()] in ([PARTIAL], ["Dataset501_MRSpineSeg"])
        if not (tmp_path / PARTIAL).exists():
            break
    assert any(caught)
    if (tmp_path / PARTIAL).exists():
        assert start(source, tmp_path, processes=2).wait(timeout=60) == 0
    assert files_below(tmp_path) == undisturbed


def test_workers_end_with_their_parent(source: Source, tmp_path: Path) -> None:
    process = start(source, tmp_path, processes=2)

    def workers() -> list[str]:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        return children.read_text().split() if children.exists() else []

    seen: list[str] = []

    def working() -> bool:
        seen[:] = workers()
        return len(seen) >= 3 and finished(tmp_path) >= 1  # two workers and multiprocessing's tracker

    assert kill_when(process, working)
    deadline = time.monotonic() + 20
    while [pid for pid in seen if Path(f"/proc/{pid}").exists() and not _is_zombie(pid)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def interrupted(
    source: Source, root: Path, *, after: int, monkeypatch: pytest.MonkeyPatch, otherwise: bool = False
) -> None:
    """Leave the hidden folder of a run that stopped after some cases."""
    calls = []
    write_record = case_writing.write_record

    def stop(*arguments: object, **named: object) -> object:
        calls.append(arguments)
        if len(calls) > after:
            raise KeyboardInterrupt
        return write_record(*arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(case_writing, "write_record", stop)
        arguments = source.otherwise if otherwise else source.arguments
        ended = nnunet_spine("convert", *arguments, "-d", 501, "-o", root, "-np", 1)
    assert ended.code != 0
    assert [p.name for p in root.iterdir()] == [PARTIAL]
    assert finished(root) == after


def rerun(source: Source, root: Path) -> dict[str, bytes]:
    assert nnunet_spine("convert", *source.arguments, "-d", 501, "-o", root, "-np", 1).code == 0
    return files_below(root)


def test_finished_cases_are_not_made_again(
    source: Source, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(source, tmp_path, after=5, monkeypatch=monkeypatch)
    done = tmp_path / PARTIAL / "dataset/labelsTr/Case002.nii.gz"
    inode = done.stat().st_ino
    assert rerun(source, tmp_path) == undisturbed
    assert (tmp_path / "Dataset501_MRSpineSeg/labelsTr/Case002.nii.gz").stat().st_ino == inode


def test_a_finished_file_that_was_damaged_since_is_made_again(
    source: Source, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(source, tmp_path, after=5, monkeypatch=monkeypatch)
    (tmp_path / PARTIAL / "dataset/labelsTr/Case002.nii.gz").write_bytes(b"damaged")
    (tmp_path / PARTIAL / "dataset/imagesTr/Case003_0000.nii.gz").unlink()
    (tmp_path / PARTIAL / "records/Case004.json").write_text("{")
    assert rerun(source, tmp_path) == undisturbed


def test_what_another_conversion_left_is_not_mixed_in(
    source: Source, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(source, tmp_path, after=5, monkeypatch=monkeypatch, otherwise=True)
    stray = tmp_path / PARTIAL / "dataset/imagesTs/Case001_0000.nii.gz"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"of another release")
    (tmp_path / PARTIAL / "scratch/.4711.Case002.nii.gz").write_bytes(b"half a file")
    assert rerun(source, tmp_path) == undisturbed


def test_number_of_workers_does_not_show_in_the_result(
    source: Source, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    ended = nnunet_spine("convert", *source.arguments, "-d", 501, "-o", tmp_path, "-np", 2)
    assert ended.code == 0
    assert files_below(tmp_path) == undisturbed


def test_nothing_written_tells_time_or_place(source: Source, undisturbed: dict[str, bytes]) -> None:
    year = time.strftime("%Y-").encode()
    for name, content in undisturbed.items():
        assert str(source.folder).encode() not in content
        assert str(Path.cwd()).encode() not in content
        if name.endswith((".json", ".html", ".label", ".ctbl")):
            assert year not in content
        if name.endswith(".json"):
            json.loads(content)
        if name.endswith(".nii.gz"):
            assert content[:2] == b"\x1f\x8b"
            assert content[4:8] == bytes(4)


def test_two_conversions_into_one_folder_do_not_meet(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnunet_spine_ext.data import staging

    monkeypatch.setattr(staging, "_PATIENCE_S", 0.2)
    with staging.Staging(tmp_path / "Dataset501_MRSpineSeg"):
        ended = nnunet_spine("convert", *source.arguments, "-d", 501, "-o", tmp_path, "-np", 1)
    assert ended.code == 1
    assert f"{tmp_path / PARTIAL}: another conversion is writing here. Wait until it has ended" in ended.error


def test_a_source_that_changes_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunet_spine_ext.data import raw

    copy = mrspineseg.write_challenge(tmp_path / "download", dict.fromkeys([2, 3], mrspineseg.COMMON))
    write_raw = raw._write_cases

    def change_first(*arguments: object, **named: object) -> object:
        mrspineseg.save(mrspineseg.picture(77), copy / "train/MR/Case3.nii.gz")
        return write_raw(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(raw, "_write_cases", change_first)
    ended = nnunet_spine("convert", "mrspineseg", copy, "-d", 501, "-o", tmp_path / "raw", "-np", 1)
    assert ended.code == 1
    assert f"{copy / 'train/MR/Case3.nii.gz'}: has changed while the dataset was being converted" in ended.error


def test_cases_finished_from_another_version_of_the_source_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = plain_folders(tmp_path / "download")
    interrupted(download, tmp_path / "raw", after=5, monkeypatch=monkeypatch)
    generic.save(mrspineseg.picture(77, (192, 128, 6)).T, tmp_path / "download/images/Case002.nii.gz")
    again, fresh = rerun(download, tmp_path / "raw"), rerun(download, tmp_path / "fresh")
    assert again == fresh
    assert fresh["Dataset501_MRSpineSeg/imagesTr/Case002_0000.nii.gz"]
