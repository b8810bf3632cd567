"""The documentation names only commands, flags and files that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from nnunet_spine_ext.cli import app, pages

ROOT = Path(__file__).resolve().parent.parent
TEXTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
STOCK_ARGUMENTS = {"train", "predict"}
"""They hand their arguments on to nnU-Net's own parsers."""


@cache
def command_line() -> TyperGroup:
    pages.register(app)
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def commands_in(text: str) -> Iterator[list[str]]:
    """The words behind `nnunet_spine` in blocks of code and between backticks, comments left out."""
    blocks = re.findall(r"```(?:bash)?\n(.*?)```", text, re.DOTALL)
    spans = re.findall(r"`(nnunet_spine [^`]+)`", text)
    for line in (line for block in (*blocks, *spans) for line in block.splitlines()):
        match = re.search(r"(?:^|[ /])nnunet_spine ([a-z].*)", line.split("#")[0])
        if match:
            yield shlex.split(re.sub(r"[…|\[\]()]", " ", match[1].rstrip(");\"'").split("&&")[0]), posix=True)


def flags_of(command: Any) -> set[str]:
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def wrong_in(text: str) -> Iterator[str]:
    """What no command line of ours understands."""
    for words in commands_in(text):
        command: Any = command_line()
        name = ""
        while isinstance(command, TyperGroup) and words and re.fullmatch(r"[a-z-]+", words[0]):
            name = words.pop(0)
            if name not in command.commands:
                yield f"no command {name}"
                break
            command = command.commands[name]
        else:
            flags = {word.split("=")[0] for word in words if re.fullmatch(r"--?[A-Za-z][\w-]*(=.*)?", word)}
            if name not in STOCK_ARGUMENTS:
                yield from (f"{name} has no {flag}" for flag in sorted(flags - flags_of(command)))


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_commands_and_flags_exist(file: Path) -> None:
    assert not list(wrong_in(file.read_text(encoding="utf-8")))


def test_what_does_not_exist_is_found() -> None:
    text = "Run `nnunet_spine plam -d 1`, or\n```bash\n.venv/bin/nnunet_spine plan -d 501 --patch 3 # no --such\n```\n"
    assert list(wrong_in(text)) == ["plan has no --patch", "no command plam"]
    assert sum(len(list(commands_in(file.read_text(encoding="utf-8")))) for file in TEXTS) > 50


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert (file.parent / target).exists(), target
