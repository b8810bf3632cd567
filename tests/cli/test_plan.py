"""`nnunet_spine plan`: flags, exit codes, output."""

from __future__ import annotations

import sys

import pytest

from nnunet_spine_ext.cli import main
from tests.conftest import NnunetFolders
from tests.planning.synthetic import write_dataset


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["nnunet_spine", "plan", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return 0 if code is None else int(code)


def test_plans_then_checks(
    nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_dataset(nnunet_folders, shape=(12, 40, 40), spacing_mm=(4.4, 0.9, 0.9))
    flags = ["-tr", "SpineBaselineTrainer", "-gpu_memory_target", "6", "-depth", "full", "-c", "2d", "3d_fullres"]
    assert run(monkeypatch, "-d", "501", *flags) == 0
    out = capsys.readouterr().out
    assert f"Plans: {folder / 'SpineBaselinePlans.json'}" in out
    assert "Train: nnUNetv2_train 501 3d_fullres 0 -tr SpineBaselineTrainer -p SpineBaselinePlans" in out
    assert run(monkeypatch, "-d", "501", "-p", "SpineBaselinePlans", "--check") == 0
    assert "SpineBaselineTrainer" in capsys.readouterr().out


def test_a_finding_exits_with_1_and_wrong_usage_with_2(
    nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "-d", "501") == 1
    assert "Dataset501_" in capsys.readouterr().err
    assert run(monkeypatch, "-d", "501", "-depth", "half") == 2
    assert "auto, full, stock" in capsys.readouterr().err
    assert run(monkeypatch, "-d", "501", "2d") == 2
    assert "Configurations follow -c" in capsys.readouterr().err
    assert run(monkeypatch) == 2


def test_help_shows_an_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "-h") == 0
    assert "nnunet_spine plan -d 501 -tr SpineHybridTrainer" in capsys.readouterr().out
