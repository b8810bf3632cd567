"""What a page is made of: sections of words, sheets and figures, which are also what files are written from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from nnunet_spine_ext.report.charts.figures import Figure
from nnunet_spine_ext.report.sheets import Sheet


@dataclass(frozen=True, kw_only=True)
class Words:
    """Paragraphs, or the points of a list; what stands between backticks is code."""

    lines: tuple[str, ...]
    bullets: bool = False


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure; `key` names its files."""

    key: str
    figure: Figure
    caption: str
    keys: bool = False
    """Whether the marks of the models are explained above it."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Blocks under a heading that opens and closes."""

    heading: str
    blocks: tuple[Block, ...]
    is_open: bool = False


Block: TypeAlias = "Words | Sheet | Drawn | Fold"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page; `key` is its anchor."""

    key: str
    title: str
    blocks: tuple[Block, ...]

    @property
    def sheets(self) -> list[Sheet]:
        """Return every table in it."""
        return [block for block in _all(self.blocks) if isinstance(block, Sheet)]

    @property
    def drawn(self) -> list[Drawn]:
        """Return every figure in it."""
        return [block for block in _all(self.blocks) if isinstance(block, Drawn)]


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A section that is not there, and what brings it."""

    title: str
    how: str


def _all(blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Fold):
            yield from _all(block.blocks)
