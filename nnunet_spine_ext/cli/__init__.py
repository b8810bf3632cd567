"""The command `nnunet_spine`: one page per subcommand, each a thin wrapper of one library function.

Heavy imports (torch, nnU-Net, SimpleITK) live inside the subcommands, so that `nnunet_spine --help` answers at once.
"""

from __future__ import annotations

import sys

import typer
from typer.core import TyperGroup

from nnunet_spine_ext.errors import SpineExtError


class _InOrder(TyperGroup):
    """Lists the subcommands in the order of the work; typer puts those with subcommands of their own last."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002
        from nnunet_spine_ext.cli.pages import PAGES

        return [name for name in PAGES if name in self.commands]


app = typer.Typer(
    cls=_InOrder,
    name="nnunet_spine",
    help="Spine segmentation for unmodified nnU-Net v2: networks, planning, conversion, comparison, submission.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


@app.callback()
def _keep_subcommands() -> None:
    """Make typer ask for a subcommand even while there is only one."""


def main() -> None:
    """Run one subcommand: exit code 0 when all went well, 1 for a finding, 2 for wrong usage."""
    from nnunet_spine_ext.cli import pages

    pages.register(app)
    try:
        app()
    except SpineExtError as error:
        print(f"nnunet_spine: {error}", file=sys.stderr)
        sys.exit(1)
