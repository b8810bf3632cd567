"""One module = one published dataset. The table of all of them is `DATASETS`.

A module holds the dataset's facts (`DATASET`, a frozen `Dataset`) and the code for what is odd about it: how its
folders and files are recognised (`find`). Reading, checking, repairing and writing are the same for all (`frame`).

Files of no published dataset go through `generic`, in the same way.

To add a dataset: a module beside this one, a row in `DATASETS`, and `tests/data/<name>.py`, which writes fake files
with the real names, folders, geometry and dtypes. Modules import the library absolutely and one another relatively,
because this folder is `dataset_conversion` in a checkout and `nnunet_spine_ext.dataset_conversion` when installed.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from nnunet_spine_ext.data.cases import Step
from nnunet_spine_ext.data.repairs import require_hounsfield
from nnunet_spine_ext.errors import SpineExtError

from . import chu, lung2d, lung3d, mrspineseg, spider, verse
from .frame import Dataset, Options, Release, convert_dataset
from .generic import Folders, convert_folders

__all__ = [
    "DATASETS", "IMAGE_STEPS", "Dataset", "Folders", "Options", "Release", "convert", "convert_dataset",
    "convert_folders",
]  # fmt: skip

DATASETS: dict[str, Dataset] = {
    module.DATASET.name: module.DATASET for module in (mrspineseg, chu, spider, verse, lung2d, lung3d)
}
IMAGE_STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (require_hounsfield, *(step for dataset in DATASETS.values() for step in dataset.image_steps))
}
"""Name → what a converter does to images; the names stand in dataset.json."""


def convert(
    name: str,
    source: Path,
    *,
    dataset_id: int,
    labels: str | None = None,
    crop: bool = False,
    hold_out: Collection[str] = (),
    target_root: Path | None = None,
    processes: int | None = None,
    dry_run: bool = False,
    n4: bool = False,
    link: bool = False,
    keep_empty: bool = False,
    correct_headers: bool = False,
) -> Path:
    """Convert a published dataset to nnU-Net raw format; return the folder of the new dataset.

    Everything is read and checked before anything is written. The dataset appears by one rename at the very end; a
    killed run is continued by the next one, with the same result byte by byte.

    Args:
        name: row of `DATASETS`.
        source: the published folder, unpacked.
        dataset_id: nnU-Net's number, 1..999.
        labels: label scheme; None for the release's default.
        crop: cut empty background off, so that prediction and submission can undo it (`crops.json`).
        hold_out: published numbers of cases to hold out as test set (imagesTs and labelsTs), or the name of such a set
            (`Dataset.hold_outs`).
        target_root: folder of raw datasets; None for the one that `nnUNet_raw` names.
        processes: worker processes; None for one per processor, at most 4.
        dry_run: print what would be done; write nothing.
        n4: divide every image by its bias field (MR only); the parameters go into dataset.json.
        link: hard links instead of copies where an image needs no change.
        keep_empty: keep cases in which no structure is labelled.
        correct_headers: put headers right that are known to be wrong in all files (`Dataset.header_step`).

    Raises:
        SpineExtError: an argument is wrong.
        SetupError: `target_root` is None and `nnUNet_raw` is not set.
        DataError: with everything that is wrong with source or target.
    """
    if name not in DATASETS:
        raise SpineExtError(f"No dataset {name!r}. There are: {', '.join(DATASETS)}.")
    options = Options(
        dataset_id=dataset_id,
        labels=labels,
        crop=crop,
        hold_out=tuple(hold_out),
        target_root=target_root,
        processes=processes,
        dry_run=dry_run,
        n4=n4,
        link=link,
        keep_empty=keep_empty,
        correct_headers=correct_headers,
    )
    return convert_dataset(DATASETS[name], source, options)
