"""`nnunet_spine submit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnunet_spine_ext.errors import DataError


def command(
    predictions: Annotated[Path | None, typer.Option("-i", help="Folder of predicted label maps.")] = None,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", "-r", help="The test set: the challenge's test folder, or a dataset's imagesTs."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", help="The zip to write: team.zip.")] = None,
    check: Annotated[Path | None, typer.Option("--check", metavar="ZIP", help="Only check this zip.")] = None,
) -> None:
    """Write the zip that the MRSpineSeg challenge wants, or check one.

    Maps of cropped images are put back exactly; a wrong folder or zip is refused with everything that is wrong.

    \b
    nnunet_spine submit -i predictions -r MRSpineSeg_Challenge_SMU/test1 -o team.zip
    nnunet_spine submit --check team.zip -r MRSpineSeg_Challenge_SMU/test1
    """
    if check is not None:
        if predictions is not None or output is not None:
            raise typer.BadParameter("--check takes a zip and -r, but neither -i nor -o")
        _check(check, reference)
    elif predictions is None or reference is None or output is None:
        raise typer.BadParameter("-i, -r and -o are needed together (or --check ZIP)")
    else:
        from nnunet_spine_ext.report.submission import write_submission

        print(f"{write_submission(predictions, reference, output)}: written and checked")


def _check(archive: Path, reference: Path | None) -> None:
    from nnunet_spine_ext.report.submission import check_submission

    findings = check_submission(archive, reference)
    if findings:
        raise DataError(findings)
    unchecked = "" if reference else " (completeness and geometry need -r TEST_FOLDER)"
    print(f"{archive}: nothing wrong{unchecked}")
