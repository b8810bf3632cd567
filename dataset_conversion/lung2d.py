"""Kaggle's lung CT slices (kmader/finding-lungs-in-ct-data): 267 axial slices, one of each scan (paper 002's data).

Published as `2d_images/ID_0000_Z_0142.tif` and `2d_masks/ID_0000_Z_0142.tif`, 512 x 512, Hounsfield units in 16 bits,
masks of 0 and 255. The pixel size is nowhere: `lung_stats.csv` gives areas that are pixels times one constant.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nnunet_spine_ext.data.cases import SourceCase
from nnunet_spine_ext.data.repairs import require_hounsfield

from .frame import Dataset, Release
from .layout import Naming, Shelf, collect, file_name, folders_in, not_recognised, subfolder
from .lung_facts import CITATION, FOLD_OF_SCAN, LICENCE, LUNGS, NOTES, REPAIRS, WHERE, padding_clipped

TITLE = "Lung CT slices of Kaggle (kmader/finding-lungs-in-ct-data)"
LAYOUTS = ("2d_images/ID_XXXX_Z_XXXX.tif and 2d_masks/ with the same names",)
_ENDINGS = (".tif", ".tiff")
_PATTERN = file_name(r"ID_(\d{4}_Z_\d{4})", _ENDINGS)
NAMING = Naming(
    image=_PATTERN,
    label=_PATTERN,
    image_example="ID_0000_Z_0142.tif",
    label_example="ID_0000_Z_0142.tif",
    case_id=lambda number: f"ID_{number.upper()}",
    endings=_ENDINGS,
)


def find(source: Path) -> Release:
    """Recognise the slices in a folder, or in a folder inside it.

    Raises:
        DataError: they are not there.
    """
    for root in (source, *folders_in(source)):
        images, masks = subfolder(root, "2d_images"), subfolder(root, "2d_masks")
        if images is not None:
            return _release(Shelf(subset="train", images=(images,), labels=(masks,) if masks else (), training=True))
    raise not_recognised(source, TITLE, LAYOUTS)


def _release(shelf: Shelf) -> Release:
    cases, findings = collect([shelf], NAMING)
    return Release(
        name="Kaggle, 2d_images",
        folder_name="LungCT2D",
        description="267 axial slices of as many scans, 512 x 512 pixels of unknown size.",
        schemes=(LUNGS,),
        legal_ids=frozenset({0, 1}),
        cases=tuple(_of_scan(case) for case in cases),
        findings=findings,
    )


def _of_scan(case: SourceCase) -> SourceCase:
    scan = case.number[:4]
    return replace(case, patient=scan, fold=FOLD_OF_SCAN.get(scan))


DATASET = Dataset(
    name="lung2d",
    title=TITLE,
    size="267 slices",
    licence=LICENCE,
    citation=CITATION,
    where=WHERE,
    channels=("CT",),
    scheme_names=(LUNGS.name,),
    layouts=LAYOUTS,
    cranio_caudal_axis_zyx=None,  # across the slice
    find=find,
    can_pixel_mm=True,
    repairs=REPAIRS,
    image_steps=(require_hounsfield, padding_clipped),
    notes=(
        *NOTES,
        "The pixel size is not published: without --pixel-mm it is 1 mm, and distances are in pixels.",
        "Paper 002's ten augmented copies of each slice are a matter of its trainer, not of files.",
    ),
)
