"""VerSe 2019 and 2020 (MICCAI challenges), restructured: 374 CT scans of 355 patients, each vertebra with its id.

Published in folders of its own for each set, `dataset-verse19training`, `dataset-verse20test`, `01_training` …:

    rawdata/sub-verse004/sub-verse004_ct.nii.gz
    derivatives/sub-verse004/sub-verse004_seg-vert_msk.nii.gz        (masks, float64 in places)
    derivatives/sub-verse004/sub-verse004_seg-subreg_ctd.json        (centroids; checked against the mask)

A patient may have several scans (`sub-verse401_split-verse253_ct`, `sub-gl195_dir-ax_ct`); orientation and spacing
vary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_spine_ext.data.cases import Change, SourceCase
from nnunet_spine_ext.data.labels import LabelScheme
from nnunet_spine_ext.data.raw import VALIDATION
from nnunet_spine_ext.data.repairs import require_hounsfield
from nnunet_spine_ext.errors import DataError, Finding

from .frame import Dataset, Release
from .layout import Naming, Shelf, collect, file_name, folders_in, not_recognised, subfolder
from .reorientation import axes_to_lps
from .verse_centroids import ids_of_centroids

TITLE = "VerSe 2019 and 2020"
LAYOUTS = (
    "SET/rawdata/sub-NAME/sub-NAME_ct.nii.gz and SET/derivatives/sub-NAME/sub-NAME_seg-vert_msk.nii.gz, where SET is "
    "called dataset-verse19training, dataset-verse20test, 01_training, 02_validation …",
)
CERVICAL, THORACIC, LUMBAR = 7, 12, 6
NAMES = (
    *(f"C{n}" for n in range(1, CERVICAL + 1)),
    *(f"T{n}" for n in range(1, THORACIC + 1)),
    *(f"L{n}" for n in range(1, LUMBAR + 1)),
)
"""Published ids 1..25. 26 and 27 (sacrum, coccyx) are not labelled; 28 is a thirteenth thoracic vertebra."""
T13 = 28

ALL = LabelScheme(
    name="all",
    description="C1..C7, T1..T12, L1..L6 with their published ids 1..25, T13 with 26 (published as 28).",
    structures=(*((name, (i,)) for i, name in enumerate(NAMES, start=1)), ("T13", (T13,))),
    ordered=True,
)
BINARY = LabelScheme(
    name="binary",
    description="All vertebrae as one structure.",
    structures=(("vertebrae", (*range(1, len(NAMES) + 1), T13)),),
    ordered=False,
)
SCHEMES = (ALL, BINARY)
_SCAN = r"(sub-[a-z0-9]+(?:_[a-z]+-[a-z0-9]+)*)"
NAMING = Naming(
    image=file_name(f"{_SCAN}_ct"),
    label=file_name(f"{_SCAN}_seg-vert_msk"),
    image_example="sub-verse004_ct.nii.gz",
    label_example="sub-verse004_seg-vert_msk.nii.gz",
    case_id=str.lower,
)
_SUBSETS = {"train": "training", "valid": VALIDATION, "test": "test"}
_SUBSET = re.compile(r"(?<![a-z])(train|valid|test)")
_DEPTH = 3
"""Archives unpack into folders of folders: dataset-verse19training/dataset-verse19training/rawdata."""


def find(source: Path) -> Release:
    """Recognise the sets in a folder: the folder of one set, or any folder that holds several.

    Raises:
        DataError: there is none.
    """
    sets = list(_sets(source, _DEPTH))
    if not sets:
        raise not_recognised(source, TITLE, LAYOUTS)
    unnamed = [root for root in sets if _subset(root, source) is None]
    if unnamed:
        remedy = "Name the folder as published: …training, …validation or …test."
        finding = "does not say by its name whether it is the training, the validation or the test set"
        raise DataError([Finding(file=root, finding=finding, remedy=remedy) for root in unnamed])
    cases, findings = collect([_shelf(root, source) for root in sets], NAMING)
    described, wrong = _described(cases)
    return Release(
        name="VerSe, restructured (BIDS)",
        folder_name="VerSe",
        description="CT of the spine, every scan turned to the same order of axes.",
        schemes=SCHEMES,
        legal_ids=frozenset({0, *range(1, len(NAMES) + 1), T13}),
        cases=_on_one_side(described),
        findings=(*findings, *wrong),
    )


def _sets(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the folders that hold a folder `rawdata`."""
    if subfolder(folder, "rawdata") is not None:
        yield folder
    elif depth:
        for inner in folders_in(folder):
            yield from _sets(inner, depth - 1)


def _shelf(root: Path, source: Path) -> Shelf:
    images, labels = subfolder(root, "rawdata"), subfolder(root, "derivatives")
    assert images is not None
    subset = _subset(root, source)
    assert subset is not None
    return Shelf(
        subset=subset,
        images=(images, *folders_in(images)),
        labels=(labels, *folders_in(labels)) if labels is not None else (),
        training=subset != "test",
    )


def _subset(root: Path, source: Path) -> str | None:
    """Return the set by the name of its folder, or of the nearest above it up to the folder that the user named."""
    above = [root, *(folder for folder in root.parents if folder.is_relative_to(source))]
    found = (_SUBSET.search(folder.resolve().name.lower()) for folder in above)
    return next((_SUBSETS[match[1]] for match in found if match), None)


def _described(cases: Sequence[SourceCase]) -> tuple[list[SourceCase], list[Finding]]:
    """Return the cases with their patients and the ids of their centroids, and what is wrong with those files."""
    described: list[SourceCase] = []
    findings: list[Finding] = []
    for case in cases:
        told = None
        try:
            told = ids_of_centroids(case)
        except DataError as error:
            findings += error.findings
        described.append(replace(case, patient=case.case.split("_")[0], told_ids=told))
    return described, findings


def _on_one_side(cases: Sequence[SourceCase]) -> tuple[SourceCase, ...]:
    """Return the cases with every scan in the test set whose patient has another one there."""
    tested = {case.patient for case in cases if not case.training}
    change = Change(
        file="image and label",
        repair="one side",
        what="put into the test set, though not published there",
        why="another scan of the same patient is in the published test set",
    )
    return tuple(
        replace(case, training=False, changes=(*case.changes, change))
        if case.training and case.patient in tested
        else case
        for case in cases
    )


DATASET = Dataset(
    name="verse",
    title=TITLE,
    size="374 scans of 355 patients",
    licence="CC BY-SA 4.0",
    citation="Sekuboyina A, et al. VerSe: A Vertebrae Labelling and Segmentation Benchmark for Multi-detector CT "
    "Images. Medical Image Analysis 73: 102166, 2021. Löffler M, et al. A Vertebral Segmentation Dataset with Fracture "
    "Grading. Radiology: Artificial Intelligence 2(4), 2020. Liebl H, Schinz D, et al. A Computed Tomography Vertebral "
    "Segmentation Dataset with Anatomical Variations and Multi-Vendor Scanner Data. Scientific Data 8: 284, 2021.",
    where="https://github.com/anjany/verse (links to the archives)",
    channels=("CT",),
    scheme_names=tuple(scheme.name for scheme in SCHEMES),
    layouts=LAYOUTS,
    cranio_caudal_axis_zyx=0,
    find=find,
    image_steps=(require_hounsfield, axes_to_lps),
    label_steps=(axes_to_lps,),
    notes=(
        "Training and validation scans are to be trained on (imagesTr), the test scans are imagesTs with labelsTs. "
        "splits_published.json holds the published training and validation sets as a single fold: copy it over "
        "splits_final.json to use it. All scans of a patient are on the same side of every fold.",
        "Axes were turned by the headers to left, posterior, superior (no interpolation), so that arrays are (axial "
        "slices, rows, columns) in all cases. `nnunet_spine prepare` turns other images alike before predicting.",
        "Vertebrae cut by the border of an image are labelled in some scans and not in others.",
    ),
)
