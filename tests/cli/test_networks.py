"""The page `nnunet_spine networks`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from nnunet_spine_ext.cli import networks
from nnunet_spine_ext.cli.pages import PAGES
from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.networks.table import planned_input
from nnunet_spine_ext.planning.losses import nnunet_loss
from nnunet_spine_ext.planning.memory import count_training_memory
from tests.networks.test_plans_file import write


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(networks.command)
    return CliRunner().invoke(app, list(arguments))


def test_lists_networks_with_paper_and_trainers_and_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("built a network")

    monkeypatch.setattr("nnunet_spine_ext.networks.facts.build", fail)
    result = run()
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("hybrid-no-hanc ")]
    assert "SCUT 2023" in line
    assert line.endswith("SpineHybridNoHANCTrainer")
    assert [record["name"] for record in json.loads(run("--json").stdout)] == list(NETWORKS)


@pytest.mark.parametrize("arguments", [["networks"], ["networks", "--json"], ["--help"]])
def test_everyday_commands_need_neither_torch_nor_nnunet(arguments: list[str]) -> None:
    script = (
        "import sys; from nnunet_spine_ext.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'nnunetv2', 'scipy', 'pandas') if name in sys.modules])"
    )
    command = [sys.executable, "-c", script, *arguments]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) > len(PAGES) + 1
    assert lines[-1] == "[]"


def test_help_lists_the_commands_in_the_order_of_the_work() -> None:
    command = [sys.executable, "-m", "nnunet_spine_ext", "--help"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    listed = re.findall(r"^  (\w[\w-]*)  ", text.partition("Commands:")[2], re.MULTILINE)
    assert tuple(listed) == PAGES


def test_counts_for_a_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "nnunet_spine_ext.networks.table.NETWORKS", {n: NETWORKS[n] for n in ("hybrid", "hybrid-res", "hybrid-paper")}
    )
    result = run("--patch", "12", "32", "32", "--no-memory")
    assert result.exit_code == 0
    assert "12 x 32 x 32" in result.stdout
    assert result.stdout.count("not counted") == 3
    assert "hybrid-paper" not in run("--patch", "1", "32", "32", "--no-memory").stdout


def test_memory_is_that_of_a_step_by_the_first_trainer() -> None:
    result = run("hybrid-res", "--json", "--patch", "12", "64", "64")
    assert result.exit_code == 0
    (record,) = json.loads(result.stdout)
    planned = planned_input((12, 64, 64), dataset=None, plans="", configuration="")

    def build() -> object:
        from nnunet_spine_ext.networks.registry import build

        return build("hybrid-res", planned.architecture, input_channels=1, num_classes=20, deep_supervision=True)

    stages = planned.architecture["n_stages"]
    expected = count_training_memory(
        build,  # type: ignore[arg-type]
        patch_size=(12, 64, 64),
        batch_size=2,
        input_channels=1,
        loss=nnunet_loss(deep_supervision_outputs=stages - 1),
    )
    assert record["training_memory_gb"] == pytest.approx(expected.total_gb, rel=1e-6)


def test_reads_the_plan_of_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "Dataset501_Spine"
    folder.mkdir()
    write(folder, labels={"background": 0, "spine": 1})
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    result = run("hybrid", "--json", "-d", "501", "-p", "SomePlans", "-c", "3d_fullres", "--no-memory")
    assert result.exit_code == 0
    (record,) = json.loads(result.stdout)
    assert record["patch_size"] == [5, 16, 16]
    assert record["input_channels"] == 2
    assert record["num_classes"] == 2
    assert record["options"] == {"plane_block": "ux", "link_block": "hanc"}


def test_details_of_one_network() -> None:
    text = run("hybrid-paper", "--no-memory", "--patch", "12", "64", "64").stdout
    for fact in ("paper: Automatic spine", "trainers: SpineHybridPaperTrainer", "1,012,865,948 in the source", "norms"):
        assert fact in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "--markdown"),
        ("-d", "501", "--patch", "12", "32", "32"),
        ("hybrid", "--markdown"),
        ("hybrid", "--docs", "docs"),
        ("--json", "--docs", "docs"),
    ],
)
def test_contradictions_are_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
