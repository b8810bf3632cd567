"""The fake datasets behind one face, and the command line as a user calls it."""

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
from tests.data import chu, generic, mrspineseg

NUMBERS = (2, 5, 7)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A fake download of three training cases."""

    name: str
    arguments: tuple[object, ...]
    """Of `nnunet_spine convert`, besides -d, -o and -np."""
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
        arguments=("mrspineseg", root),
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
        arguments=("chu", root),
        source=root,
        image=lambda n: root / f"Img_{n:02d}.nii",
        label=lambda n: root / f"Img_{n:02d}_Labels.nii",
        picture=chu.picture,
        mask=chu.mask,
        save=chu.save,
        affine=chu.AFFINE,
        highest_id=1,
    )


def folders(root: Path) -> Published:
    """Return three cases for `generic`, in the challenge's geometry and ids."""
    names = mrspineseg.STRUCTURE_IDS
    generic.write_table(root / "names.csv", names)
    for number in NUMBERS:
        mrspineseg.save(mrspineseg.picture(number), root / f"images/scan_{number:02d}_T2.nii.gz")
        mrspineseg.save(mrspineseg.mask(mrspineseg.COMMON), root / f"labels/scan_{number:02d}_seg.nii.gz")
    return Published(
        name="generic",
        arguments=generic_arguments(root),
        source=root,
        image=lambda n: root / f"images/scan_{n:02d}_T2.nii.gz",
        label=lambda n: root / f"labels/scan_{n:02d}_seg.nii.gz",
        picture=mrspineseg.picture,
        mask=lambda: mrspineseg.mask(mrspineseg.COMMON),
        save=mrspineseg.save,
        affine=mrspineseg.AFFINE,
        highest_id=19,
    )


def generic_arguments(root: Path, *more: object, name: str = "Fake") -> tuple[object, ...]:
    """Return what `nnunet_spine convert` needs for root/images, root/labels and root/names.csv."""
    table = root / "names.csv"
    folders = ("--images", root / "images", "--labels", root / "labels", "--label-table", table)
    return ("generic", *folders, "--name", name, *more)


PUBLISHED: dict[str, Callable[[Path], Published]] = {"mrspineseg": challenge, "chu": lower_spine}
"""Downloads of published datasets."""
ALL = {**PUBLISHED, "generic": folders}


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
