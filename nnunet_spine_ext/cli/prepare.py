"""`nnunet_spine prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    images: Annotated[Path, typer.Option("-i", help="Folder of images.")],
    output: Annotated[Path, typer.Option("-o", help="Folder to write to; finished images in it are kept.")],
    dataset_id: Annotated[int, typer.Option("-d", min=1, max=999, help="Dataset whose model shall predict.")],
    processes: Annotated[int | None, typer.Option("-np", min=1, help="Worker processes.")] = None,
) -> None:
    """Prepare later test images as the images of a dataset were prepared by its converter.

    What dataset.json records is done: axes turned (SPIDER, VerSe, lung CT), padding clipped (lung CT), bias field
    corrected (--n4). `nnunet_spine predict` turns the label maps back onto the axes of the originals; after
    nnUNetv2_predict they lie on the prepared images: the same places in space, axes in the dataset's order.

    \b
    nnunet_spine prepare -i new_scans -o new_scans_prepared -d 501
    """
    from nnunet_spine_ext.cli.convert import find_converters
    from nnunet_spine_ext.data.new_images import prepare_folder, recorded_preparation
    from nnunet_spine_ext.data.parallel import default_processes
    from nnunet_spine_ext.data.turning_back import RECORD_FILE
    from nnunet_spine_ext.paths import dataset_folder

    preparation = recorded_preparation(dataset_folder(dataset_id), find_converters().IMAGE_STEPS)
    written = prepare_folder(images, output, preparation=preparation, processes=processes or default_processes())
    print(f"{len(written)} prepared images in {output}. What was done to each: {output / RECORD_FILE}")
