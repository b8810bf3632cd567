"""The tree holds to its own rules: who may import whom, what is packaged, what is written where."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import nnunet_spine_ext

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "nnunet_spine_ext"
OUTER = {"trainers", "dataset_conversion"}


def modules_imported(source: Path) -> Iterator[str]:
    """Every module that `source` imports, anywhere in the file (relative imports as they resolve)."""
    package = ".".join(source.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            yield ".".join(part for part in (base, node.module or "") if part)


def first_parts(source: Path) -> set[str]:
    return {name.split(".")[0] for name in modules_imported(source)}


LIBRARY_FILES = sorted(p for p in LIBRARY.rglob("*.py") if "cli" not in p.relative_to(LIBRARY).parts)


@pytest.mark.parametrize("source", LIBRARY_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_library_knows_neither_trainers_nor_converters_nor_commands(source: Path) -> None:
    imported = set(modules_imported(source))
    assert not first_parts(source) & OUTER
    forbidden = tuple(f"nnunet_spine_ext.{name}" for name in (*OUTER, "cli"))
    # __main__ is the command itself.
    assert source.name == "__main__.py" or not [name for name in imported if name.startswith(forbidden)]


@pytest.mark.parametrize("package", ["networks", "data", "evaluation", "report"])
def test_light_packages_never_import_nnunet(package: str) -> None:
    files = sorted((LIBRARY / package).rglob("*.py"))
    assert files
    assert [str(f) for f in files if "nnunetv2" in first_parts(f)] == []


def test_commands_import_nothing_heavy_at_the_top() -> None:
    heavy = {"torch", "nnunetv2", "SimpleITK", "numpy", "pandas", "matplotlib", "scipy"}
    for source in (LIBRARY / "cli").glob("*.py"):
        top = [n for n in ast.parse(source.read_text()).body if isinstance(n, (ast.Import, ast.ImportFrom))]
        names = {a.name.split(".")[0] for n in top if isinstance(n, ast.Import) for a in n.names}
        names |= {(n.module or "").split(".")[0] for n in top if isinstance(n, ast.ImportFrom)}
        assert not names & heavy, source.name


def test_packages_listed_for_the_wheel_are_the_packages_of_the_tree() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    inner = {".".join(p.parent.relative_to(ROOT).parts) for p in LIBRARY.rglob("__init__.py")}
    outer = {f"nnunet_spine_ext.{name}" for name in OUTER}
    assert listed == inner | outer


def test_changelog_opens_with_the_version() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == nnunet_spine_ext.__version__


def test_citation_states_the_version() -> None:
    assert f"\nversion: {nnunet_spine_ext.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_public_names_are_sorted_and_exist() -> None:
    names = nnunet_spine_ext.__all__
    assert names == sorted(names)
    assert all(hasattr(nnunet_spine_ext, name) for name in names)


def test_continuous_integration_runs_the_commands_of_the_readme() -> None:
    readme, script = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    assert ".venv/bin/python -m pytest -n auto\n" in readme
    assert "\npython -m pytest -n auto\n" in script
