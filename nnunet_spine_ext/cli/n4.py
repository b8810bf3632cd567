"""`nnunet_spine n4`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    images: Annotated[Path, typer.Option("-i", help="Folder of images.")],
    output: Annotated[Path, typer.Option("-o", help="Folder to write to; finished images in it are kept.")],
    dataset_id: Annotated[int, typer.Option("-d", min=1, max=999, help="Dataset that was converted with --n4.")],
    processes: Annotated[int | None, typer.Option("-np", min=1, help="Worker processes.")] = None,
) -> None:
    """Correct the bias field of later test images as the dataset's own images were corrected.

    The parameters are those that `convert --n4` wrote into dataset.json.

    \b
    nnunet_spine n4 -i new_scans -o new_scans_n4 -d 501
    """
    from nnunet_spine_ext.data.n4_folder import RECORD_FILE, correct_folder, recorded_options
    from nnunet_spine_ext.data.parallel import default_processes
    from nnunet_spine_ext.paths import dataset_folder

    options = recorded_options(dataset_folder(dataset_id))
    written = correct_folder(images, output, options=options, processes=processes or default_processes())
    print(f"{len(written)} corrected images in {output}. What was done to each: {output / RECORD_FILE}")
