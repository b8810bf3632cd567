"""`nnunet_spine convert`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dataset_conversion import Dataset

_GENERIC = "generic"


def command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Dataset, see --list.", show_default=False)] = None,
    source: Annotated[Path | None, typer.Argument(metavar="SOURCE", help="Its folder.", show_default=False)] = None,
    dataset_id: Annotated[int | None, typer.Option("-d", min=1, max=999, help="Number of the new dataset.")] = None,
    labels: Annotated[str | None, typer.Option("--labels", help="Label scheme, see --list; generic: folder.")] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Cut empty background off; prediction can undo it.")] = False,
    n4: Annotated[bool, typer.Option("--n4", help="Correct the bias field of MR images (slow).")] = False,
    hold_out: Annotated[str, typer.Option("--hold-out", metavar="IDS", help="Test cases: 09,10 (chu: or paper).")] = "",
    correct_headers: Annotated[
        bool, typer.Option("--correct-headers", help="Put headers right that are known to be wrong (chu).")
    ] = False,
    keep_empty: Annotated[bool, typer.Option("--keep-empty", help="Keep cases with nothing labelled.")] = False,
    output: Annotated[Path | None, typer.Option("-o", help="Folder of raw datasets [nnUNet_raw].")] = None,
    processes: Annotated[int | None, typer.Option("-np", min=1, help="Worker processes.")] = None,
    link: Annotated[bool, typer.Option("--link", help="Hard links instead of copies of unchanged files.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, print the plan, write nothing.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="Print the table of datasets.")] = False,
    images: Annotated[Path | None, typer.Option("--images", help="generic: folder of images.")] = None,
    label_table: Annotated[Path | None, typer.Option("--label-table", help="generic: ids and names.")] = None,
    folder_name: Annotated[str | None, typer.Option("--name", help="generic: Spines in Dataset501_Spines.")] = None,
    test_images: Annotated[Path | None, typer.Option("--test-images", help="generic: images without labels.")] = None,
    channel: Annotated[str | None, typer.Option("--channel", help="generic: what the images show [MR].")] = None,
    ct: Annotated[bool, typer.Option("--ct", help="generic: CT in Hounsfield units.")] = False,
    pixel_mm: Annotated[float | None, typer.Option("--pixel-mm", help="generic, lung2d: size of a pixel.")] = None,
    spine_axis: Annotated[int | None, typer.Option("--spine-axis", help="generic: 0 1 2, never mirrored.")] = None,
    patient: Annotated[str | None, typer.Option("--patient", help="generic: finds the patient in a name.")] = None,
) -> None:
    """Convert a published dataset, as downloaded, or any folders of files (generic) to nnU-Net raw format.

    All is checked before anything is written; after a kill the same command continues.

    \b
    nnunet_spine convert mrspineseg /data/MRSpineSeg_Challenge_SMU -d 501 --labels all
    nnunet_spine convert generic --images t2 --labels masks --label-table names.csv -d 502 --name Lumbar --channel T2
    """
    converters = find_converters()
    if show_list:
        print(_table(converters))
        return
    generic = name == _GENERIC
    if not generic and name not in converters.DATASETS:
        known = ", ".join([*converters.DATASETS, _GENERIC])
        raise typer.BadParameter(f"{name!r} is none of {known}.", param_hint="NAME")
    only_generic: dict[str, object] = {
        "--images": images, "--label-table": label_table, "--name": folder_name, "--test-images": test_images,
        "--channel": channel, "--ct": ct, "--spine-axis": spine_axis, "--patient": patient, "--pixel-mm": pixel_mm,
    }  # fmt: skip
    if generic:
        _check_generic(source, {"--labels": labels, **only_generic}, crop=crop, n4=n4)
    else:
        _check_published(converters.DATASETS[name], source, only_generic, labels=labels, crop=crop, n4=n4)
    if correct_headers and (generic or converters.DATASETS[name].header_step is None):
        raise typer.BadParameter(f"the headers of {name} are not known as wrong.", param_hint="--correct-headers")
    if dataset_id is None:
        raise typer.BadParameter("which number shall the new dataset have?", param_hint="-d")
    options = converters.Options(
        dataset_id=dataset_id,
        labels=None if generic else labels,
        crop=crop,
        hold_out=tuple(number.strip() for number in hold_out.split(",") if number.strip()),
        target_root=output,
        processes=processes,
        dry_run=dry_run,
        n4=n4,
        link=link,
        keep_empty=keep_empty,
        pixel_mm=pixel_mm,
        correct_headers=correct_headers,
    )
    if generic:
        folders = converters.Folders(
            images=images,
            labels=Path(labels or ""),
            label_table=label_table,
            name=folder_name,
            test_images=test_images,
            channel="CT" if ct else channel or "MR",
            spine_axis=spine_axis,
            patient=patient,
        )
        folder = converters.convert_folders(folders, options)
    else:
        folder = converters.convert_dataset(converters.DATASETS[name], source, options)
    if not dry_run:
        print(f"{folder} is ready. What was read and changed: {folder / 'conversion_log.html'} (and .json)")
        print(f"Next: nnUNetv2_plan_and_preprocess -d {dataset_id} --verify_dataset_integrity")


def _check_generic(source: Path | None, given: Mapping[str, object], *, crop: bool, n4: bool) -> None:
    """Refuse options that generic needs and has not, or has and does not take."""
    if source is not None:
        raise typer.BadParameter(
            "generic takes no folder here: name them by --images and --labels.", param_hint="SOURCE"
        )
    for option in ("--images", "--labels", "--label-table", "--name"):
        if given[option] is None:
            raise typer.BadParameter("generic needs it.", param_hint=option)
    if given["--ct"] and given["--channel"] is not None:
        raise typer.BadParameter("--ct is the channel CT already.", param_hint="--channel")
    if given["--ct"] and n4:
        raise typer.BadParameter("CT has no bias field.", param_hint="--n4")
    if crop:
        raise typer.BadParameter("not offered for generic.", param_hint="--crop")


def _check_published(
    dataset: Dataset, source: Path | None, foreign: Mapping[str, object], *, labels: str | None, crop: bool, n4: bool
) -> None:
    """Refuse options that this dataset does not take."""
    if source is None:
        raise typer.BadParameter("which folder?", param_hint="SOURCE")
    for option, value in foreign.items():
        if value not in (None, False) and not (option == "--pixel-mm" and dataset.can_pixel_mm):
            raise typer.BadParameter(f"is for {_GENERIC} only.", param_hint=option)
    if labels is not None and labels not in dataset.scheme_names:
        raise typer.BadParameter(f"{labels!r} is none of {', '.join(dataset.scheme_names)}.", param_hint="--labels")
    if crop and not dataset.can_crop:
        raise typer.BadParameter(f"not offered for {dataset.name}.", param_hint="--crop")
    if n4 and not dataset.can_n4:
        raise typer.BadParameter("CT has no bias field.", param_hint="--n4")


def find_converters() -> ModuleType:
    """Return the package of converters: installed inside ours, in a bare checkout beside it."""
    inside = "nnunet_spine_ext.dataset_conversion"
    try:
        return import_module(inside)
    except ModuleNotFoundError as error:
        if error.name != inside:
            raise
    return import_module("dataset_conversion")


def _table(converters: ModuleType) -> str:
    blocks = []
    for dataset in converters.DATASETS.values():
        rows = {
            "cases": dataset.size,
            "labels": ", ".join(dataset.scheme_names),
            "licence": dataset.licence,
            "ask at": dataset.where,
            "cite": dataset.citation,
            "folder": "; or ".join(dataset.layouts),
        }
        lines = [f"  {key + ':':9}{value}" for key, value in rows.items()]
        blocks.append("\n".join([f"{dataset.name} – {dataset.title}", *lines]))
    blocks.append(
        f"{_GENERIC} – any other folders of images and labels\n"
        "  folder:  --images and --labels, paired by name; .nii .nii.gz .nrrd .mha, .png .tif .tiff .npy, DICOM series"
    )
    return "\n\n".join(blocks)
