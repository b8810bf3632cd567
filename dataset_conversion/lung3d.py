"""Kaggle's lung CT volumes (kmader/finding-lungs-in-ct-data): 4 scans.

Published as `3d_images/IMG_0002.nii.gz` and `MASK_0002.nii.gz`; the axial slices lie along the first file axis
(nibabel shape (117, 512, 512)) under a diagonal header that calls it left-right; masks are uint8 of 0 and 255.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nnunet_spine_ext.data.repairs import require_hounsfield

from .frame import Dataset, Release
from .layout import Naming, Shelf, collect, file_name, folders_in, not_recognised, subfolder
from .lung_facts import (
    CITATION,
    FOLD_OF_SCAN,
    LICENCE,
    LUNGS,
    NOTES,
    REPAIRS,
    WHERE,
    axial_slices_last,
    padding_clipped,
)

TITLE = "Lung CT volumes of Kaggle (kmader/finding-lungs-in-ct-data)"
LAYOUTS = ("3d_images/IMG_XXXX.nii.gz and 3d_images/MASK_XXXX.nii.gz",)
NAMING = Naming(
    image=file_name(r"IMG_(\d{4})"),
    label=file_name(r"MASK_(\d{4})"),
    image_example="IMG_0002.nii.gz",
    label_example="MASK_0002.nii.gz",
    case_id=lambda number: f"IMG_{number}",
)


def find(source: Path) -> Release:
    """Recognise the volumes in a folder, or in a folder inside it.

    Raises:
        DataError: they are not there.
    """
    for root in (source, *folders_in(source)):
        folder = subfolder(root, "3d_images")
        if folder is not None:
            return _release(Shelf(subset="train", images=(folder,), labels=(folder,), training=True))
    raise not_recognised(source, TITLE, LAYOUTS)


def _release(shelf: Shelf) -> Release:
    cases, findings = collect([shelf], NAMING)
    return Release(
        name="Kaggle, 3d_images",
        folder_name="LungCT3D",
        description="4 chest CT scans, axial slices.",
        schemes=(LUNGS,),
        legal_ids=frozenset({0, 1}),
        cases=tuple(replace(case, patient=case.number, fold=FOLD_OF_SCAN.get(case.number)) for case in cases),
        findings=findings,
    )


DATASET = Dataset(
    name="lung3d",
    title=TITLE,
    size="4 volumes",
    licence=LICENCE,
    citation=CITATION,
    where=WHERE,
    channels=("CT",),
    scheme_names=(LUNGS.name,),
    layouts=LAYOUTS,
    cranio_caudal_axis_zyx=0,
    find=find,
    repairs=REPAIRS,
    image_steps=(axial_slices_last, require_hounsfield, padding_clipped),
    label_steps=(axial_slices_last,),
    notes=(
        *NOTES,
        "Volumes with the slices along the first axis were reordered and got a header that calls them axial, rows to "
        "the back and columns to the left, as is usual. The published headers say nothing of it: do not take left, "
        "right, top or bottom from them.",
    ),
)
