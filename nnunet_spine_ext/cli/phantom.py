"""`nnunet_spine phantom`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to; finished cases in it are kept.")],
    cases: Annotated[int, typer.Option("--cases", min=1, help="Training cases.")],
    test_cases: Annotated[int, typer.Option("--test-cases", min=0, help="Test cases.")] = 2,
    size: Annotated[int, typer.Option("--size", min=64, max=1024, help="Rows and columns of a slice.")] = 880,
    slices: Annotated[int, typer.Option("--slices", min=8, max=15, help="Sagittal slices of 4.4 mm.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed, other spines.")] = 0,
    processes: Annotated[int, typer.Option("-np", min=1, help="Worker processes.")] = 1,
) -> None:
    """Write synthetic spines in the folders of the MRSpineSeg challenge.

    T2-like sagittal scans with vertebrae, discs and sacrum under the challenge's ids. For trying things out and for
    tests; never a claim about accuracy.

    \b
    nnunet_spine phantom /tmp/phantom --cases 12 --size 128
    """
    from nnunet_spine_ext.data.phantom import write_phantom

    write_phantom(out, cases=cases, test_cases=test_cases, size=size, slices=slices, seed=seed, processes=processes)
    print(f"{cases} training and {test_cases} test cases in {out}")
