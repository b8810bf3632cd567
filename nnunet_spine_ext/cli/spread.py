"""Options that take several values after one flag, as nnU-Net's do: `-tr A B C` for `-tr A -tr B -tr C`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class SpreadCommand(TyperCommand):
    """A command whose repeatable options may be written once, with all their values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  (typer brings its own click, or not)
        """Repeat the flag before each further value, then parse as usual."""
        repeatable = {flag for p in self.params if getattr(p, "multiple", False) for flag in p.opts}
        spread: list[str] = []
        flag, values = "", 0
        for argument in args:
            if argument.startswith("-"):
                flag, values = (argument, 0) if argument in repeatable else ("", 0)
            elif flag:
                values += 1
                if values > 1:
                    spread.append(flag)
            spread.append(argument)
        parsed: list[str] = super().parse_args(ctx, spread)
        return parsed
