"""`nnunet_spine doctor`: every failure comes with a remedy."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nnunet_spine_ext import doctor
from nnunet_spine_ext.paths import TRAINERS_VARIABLE, make_trainers_findable, trainers_dir


def by_subject(checks: list[doctor.Check]) -> dict[str, doctor.Check]:
    return {check.subject: check for check in checks}


def test_unset_folder_fails_with_the_command_that_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_raw", raising=False)
    check = by_subject(list(doctor._folders()))["nnUNet_raw"]
    assert check.state == "failed"
    assert "export nnUNet_raw=" in check.remedy


def test_folder_that_is_a_file_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("nnUNet_results", str(file / "results"))
    assert by_subject(list(doctor._folders()))["nnUNet_results"].state == "failed"


def test_folder_that_can_be_made_is_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "not" / "yet"))
    assert by_subject(list(doctor._folders()))["nnUNet_results"].state in ("ok", "note")


def test_trainer_folder_that_does_not_exist_fails_because_nnunet_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRAINERS_VARIABLE, "/no/such/folder")
    (check,) = doctor._external_trainers()
    assert check.state == "failed"
    assert "/no/such/folder" in check.finding


def test_our_trainers_are_recognised_beside_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(TRAINERS_VARIABLE, str(tmp_path))
    make_trainers_findable()
    assert os.environ[TRAINERS_VARIABLE].split(os.pathsep) == [str(trainers_dir()), str(tmp_path)]
    assert next(doctor._external_trainers()).state == "ok"


@pytest.mark.parametrize(
    ("version", "state"), [("2.7.0", "failed"), ("2.8.0", "ok"), ("2.12.1", "ok"), ("3.0.0", "failed")]
)
def test_supported_nnunet_versions(version: str, state: str) -> None:
    assert doctor._supported("nnunetv2", version).state == state


def test_every_trainer_in_the_sources_is_asked_for() -> None:
    defined = {
        name
        for module in trainers_dir().glob("spine_*.py")
        for name in re.findall(r"^class (Spine\w+)", module.read_text(), re.MULTILINE)
    }
    assert defined
    assert set(doctor.trainer_names()) == defined


def test_nnunet_finds_every_trainer_and_the_variable_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRAINERS_VARIABLE, "/kept/as/it/was")
    checks = list(doctor._trainers_found())
    assert [str(c) for c in checks if c.state != "ok"] == []
    assert {c.subject for c in checks} == set(doctor.trainer_names())
    assert os.environ[TRAINERS_VARIABLE] == "/kept/as/it/was"


def test_a_broken_trainer_is_reported_and_not_raised() -> None:
    def find(name: str) -> type:
        raise ModuleNotFoundError("No module named 'mamba_ssm'")

    check = doctor._find_trainer(find, "SpineXTrainer")
    assert check.state == "failed"
    assert "mamba_ssm" in check.finding
