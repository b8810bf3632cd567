"""A conversion of any dataset that was stopped is continued by the next one, with the very same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nnunet_spine_ext.data import case_writing
from tests.conftest import REPOSITORY
from tests.data import chu, lungs, spider, verse
from tests.dataset_conversion.published import files_below, nnunet_spine

DOWNLOADS: dict[str, tuple[Callable[[Path], object], tuple[object, ...]]] = {
    "chu": (lambda root: chu.write(root, range(1, 7)), ("--labels", "vertebrae", "--correct-headers")),
    "spider": (spider.write, ()),
    "verse": (verse.write, ()),
    "lung2d": (lungs.write_slices, ("--pixel-mm", 0.7)),
    "lung3d": (lungs.write_volumes, ()),
}


@pytest.mark.parametrize("dataset", DOWNLOADS)
def test_a_rerun_ends_with_the_bytes_of_an_undisturbed_run(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, options = DOWNLOADS[dataset]
    write(tmp_path / "download")
    command = ("convert", dataset, tmp_path / "download", "-d", 501, *options, "-np", 1, "-o")
    assert nnunet_spine(*command, tmp_path / "undisturbed").code == 0
    written = []
    plain = case_writing.write_record

    def stop(*arguments: object, **named: object) -> object:
        written.append(arguments)
        if len(written) > 2:
            raise KeyboardInterrupt
        return plain(*arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(case_writing, "write_record", stop)
        assert nnunet_spine(*command, tmp_path / "stopped").code != 0
    (partial,) = (tmp_path / "stopped").iterdir()
    assert partial.name.endswith(".partial")
    finished = sorted(path.stem for path in (partial / "records").iterdir())[0]
    inode = next(partial.glob(f"dataset/labelsT*/{finished}.nii.gz")).stat().st_ino
    assert nnunet_spine(*command, tmp_path / "stopped").code == 0
    assert files_below(tmp_path / "stopped") == files_below(tmp_path / "undisturbed")
    assert next((tmp_path / "stopped").glob(f"*/labelsT*/{finished}.nii.gz")).stat().st_ino == inode


def test_a_kill_at_work_leaves_only_the_hidden_folder(tmp_path: Path) -> None:
    scans = {"01_training": [f"sub-verse{number:03d}" for number in range(1, 25)]}
    verse.write(tmp_path / "download", scans)
    command = ["convert", "verse", str(tmp_path / "download"), "-d", "501", "-np", "1", "-o"]
    assert nnunet_spine(*command, tmp_path / "undisturbed").code == 0
    raw = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "nnunet_spine_ext", *command, str(raw)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and not list(raw.glob(".Dataset501_VerSe.partial/records/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [p.name for p in raw.iterdir()] == [".Dataset501_VerSe.partial"]
    assert nnunet_spine(*command, raw).code == 0
    assert files_below(raw) == files_below(tmp_path / "undisturbed")
