"""The table of subcommands: a row here and a module beside this one with a function `command` make a subcommand.

A page with subcommands of its own has a `typer.Typer` called `app` instead.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

# In the order of `nnunet_spine --help`, which is the order of the work. The module is the name with - as _.
PAGES: tuple[str, ...] = (
    "demo",
    "doctor",
    "trainers-dir",
    "networks",
    "phantom",
    "convert",
    "prepare",
    "plan",
    "train",
    "predict",
    "evaluate",
    "benchmark",
    "report",
    "submit",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add every page to `app`; a page may carry `SETTINGS`, passed to click as context settings."""
    for name in PAGES:
        page = import_module(f"nnunet_spine_ext.cli.{name.replace('-', '_')}")
        if hasattr(page, "app"):
            app.add_typer(page.app, name=name)
            continue
        app.command(name, context_settings=getattr(page, "SETTINGS", None))(page.command)
