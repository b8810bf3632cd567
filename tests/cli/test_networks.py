"""The page `nnunet_spine networks`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from nnunet_spine_ext.cli import networks
from tests.networks.test_plans_file import write


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(networks.command)
    return CliRunner().invoke(app, list(arguments))


def test_lists_networks_with_paper_size_and_trainers() -> None:
    result = run("--patch", "12", "32", "32")
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("hybrid-no-hanc ")]
    assert "SCUT 2023" in line
    assert line.endswith("SpineHybridNoHANCTrainer")


def test_reads_the_plan_of_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "Dataset501_Spine"
    folder.mkdir()
    write(folder, labels={"background": 0, "spine": 1})
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    result = run("hybrid", "--json", "-d", "501", "-p", "SomePlans", "-c", "3d_fullres")
    assert result.exit_code == 0
    (record,) = json.loads(result.stdout)
    assert record["patch_size"] == [5, 16, 16]
    assert record["input_channels"] == 2
    assert record["num_classes"] == 2
    assert record["options"] == {"plane_block": "ux", "link_block": "hanc"}


@pytest.mark.parametrize("arguments", [("--json", "--markdown"), ("-d", "501", "--patch", "12", "32", "32")])
def test_contradictions_are_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
