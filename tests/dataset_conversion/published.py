"""Both fake datasets behind one face, and the command line as a user calls it."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nnunet_spine_ext import cli
from tests.data import chu, mrspineseg

NUMBERS = (2, 5, 7)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A fake download of three training cases."""

    name: str
    source: Path
    image: Callable[[int], Path]
    label: Callable[[int], Path]
    picture: Callable[[int], NDArray[np.int16]]
    mask: Callable[[], NDArray[np.generic]]
    save: Callable[[NDArray[np.generic], Path, NDArray[np.float64]], None]
    affine: NDArray[np.float64]
    highest_id: int


def challenge(root: Path) -> Published:
    folder = mrspineseg.write_challenge(root, dict.fromkeys(NUMBERS, mrspineseg.COMMON), test1=[3], test2=[96])
    return Published(
        name="mrspineseg",
        source=root,
        image=lambda n: folder / f"train/MR/Case{n}.nii.gz",
        label=lambda n: folder / f"train/Mask/mask_case{n}.nii.gz",
        picture=mrspineseg.picture,
        mask=lambda: mrspineseg.mask(mrspineseg.COMMON),
        save=mrspineseg.save,
        affine=mrspineseg.AFFINE,
        highest_id=19,
    )


def lower_spine(root: Path) -> Published:
    chu.write(root, NUMBERS)
    return Published(
        name="chu",
        source=root,
        image=lambda n: root / f"Img_{n:02d}.nii",
        label=lambda n: root / f"Img_{n:02d}_Labels.nii",
        picture=chu.picture,
        mask=chu.mask,
        save=chu.save,
        affine=chu.AFFINE,
        highest_id=1,
    )


PUBLISHED: dict[str, Callable[[Path], Published]] = {"mrspineseg": challenge, "chu": lower_spine}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    error: str


def nnunet_spine(*arguments: object) -> Ended:
    """Run `nnunet_spine ARGUMENTS` in this process, exactly as the console script does."""
    out, error = io.StringIO(), io.StringIO()
    code = 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        patch.setattr(sys, "argv", ["nnunet_spine", *(str(a) for a in arguments)])
        patch.setattr(cli.app, "registered_commands", [])  # main() adds them once per process
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Ended(code=code, out=out.getvalue(), error=error.getvalue())


def files_below(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones included: relative name → content."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
