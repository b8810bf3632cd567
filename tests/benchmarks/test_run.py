"""The page of all benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest
import run

SCRIPTS = {path.stem for path in run.FOLDER.glob("*.py") if "__main__" in path.read_text()}


def test_every_script_is_listed_once() -> None:
    names = [b.name for b in run.BENCHMARKS]
    assert len(set(names)) == len(names)
    assert SCRIPTS - {"run"} <= set(names)


def test_every_script_says_by_which_command_it_runs() -> None:
    for benchmark in run.BENCHMARKS:
        if benchmark.script.is_file():
            assert f"python benchmarks/{benchmark.name}.py" in benchmark.script.read_text()


def test_slow_ones_run_only_when_asked_for() -> None:
    usual = run.chosen(None, everything=False, quick=False)
    assert usual
    assert not any(b.slow for b in usual)
    assert [b.name for b in run.chosen(["n4"], everything=False, quick=False)] == ["n4"]
    assert {b.name for b in run.chosen(None, everything=True, quick=False)} >= {"n4", "conversion", "commands"}


def test_results_hold_every_page_and_name_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "commands.md").write_text("# Everyday commands\n\n## Detail\n\n| a |\n")
    text = run.results(tmp_path)
    assert "\n## Everyday commands\n\n### Detail\n\n| a |" in text
    assert "(#everyday-commands)" in text
    assert "Not measured yet: " in text
    assert "roofline" in text.split("Not measured yet: ")[1].splitlines()[0]


def test_a_failure_leaves_the_page_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("import sys\nprint('half a page')\nsys.exit(3)\n")
    (tmp_path / "broken.md").write_text("# Old\n")
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    broken = run.Benchmark(name="broken", shows="nothing")
    assert not run.run(broken, pages=tmp_path, quick=False, device="cpu")
    assert (tmp_path / "broken.md").read_text() == "# Old\n"
    (tmp_path / "broken.py").write_text("print('# New')\n")
    assert run.run(broken, pages=tmp_path, quick=False, device="cpu")
    assert (tmp_path / "broken.md").read_text() == "# New\n"


def test_devices_are_passed_on_to_those_that_take_them() -> None:
    by_name = {b.name: b for b in run.BENCHMARKS}
    assert by_name["roofline"].command(quick=True, device="cuda")[1:] == ["--quick", "--device", "cuda"]
    assert by_name["commands"].command(quick=False, device="cuda")[1:] == []
