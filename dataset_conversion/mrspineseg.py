"""MRSpineSeg (2nd CSIG challenge, 2021) and the two related releases of Southern Medical University.

    challenge             172 + 20 + 23 cases, 19 structures; train/MR, train/Mask, test1/MR, test2/MR (paper 004)
    SpineSagT2Wdataset3   195 + 20 cases, binary; train/image, train/groundtruth, test/image (paper 000)
    course                200 cases, 19 structures; train|test/source|label, or the downloaded parts (paper 003)

In all of them the image is `CaseN.nii.gz` and its mask `mask_caseN.nii.gz`; N is not contiguous. Sagittal T2 of 12 or
15 thick slices: file axes A-P, I-S, slices (nibabel, codes P S R), so nnU-Net's arrays are (slices, I-S, A-P).
Headers are oblique and carry an sform only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nnunet_spine_ext.data.labels import MRSPINESEG_STRUCTURES, LabelScheme, identity_scheme
from nnunet_spine_ext.data.phantom import is_phantom
from nnunet_spine_ext.errors import DataError

from .frame import Dataset, Release
from .layout import Naming, Shelf, collect, file_name, folders_in, not_recognised, subfolder

TITLE = "MRSpineSeg (Southern Medical University)"
LAYOUTS = (
    "train/MR and train/Mask (challenge)",
    "train/image and train/groundtruth (SpineSagT2Wdataset3)",
    "train/source and train/label, or the downloaded mit_ai_2021_course_2_project_1_dataset_train_1 … (course)",
)
VERTEBRAE = tuple(name for name in MRSPINESEG_STRUCTURES if "/" not in name)
"""Sacrum and L5 … T9: ids 1..10."""

ALL = identity_scheme("all", "Sacrum, vertebrae L5..T9 and the discs between them.", MRSPINESEG_STRUCTURES)
VERTEBRAE_ONLY = identity_scheme("vertebrae", "Sacrum and vertebrae L5..T9; discs are background.", VERTEBRAE)
PAPER004 = identity_scheme("paper004", "Sacrum and L5..L1, T12, T11; T10, T9 and discs are background.", VERTEBRAE[:8])
BINARY = LabelScheme(
    name="binary",
    description="Vertebrae and sacrum as one structure; discs are background, as in SpineSagT2Wdataset3.",
    structures=(("spine", tuple(range(1, len(VERTEBRAE) + 1))),),
    ordered=False,
)
SIBLING_BINARY = LabelScheme(
    name="binary",
    description="Whole vertebrae with posterior elements and sacrum as one structure, as published; no discs.",
    structures=(("spine", (1,)),),
    ordered=False,
)
SCHEMES = (ALL, VERTEBRAE_ONLY, PAPER004, BINARY)
ALL_IDS = frozenset(range(len(MRSPINESEG_STRUCTURES) + 1))

NAMING = Naming(
    image=file_name(r"case_?(\d+)"),
    label=file_name(r"mask_case_?(\d+)"),
    image_example="Case2.nii.gz",
    label_example="mask_case2.nii.gz",
    case_id=lambda number: f"Case{int(number):03d}",
)
_COURSE_PART = re.compile(r"mit_ai_2021_course_2_project_1_dataset_(train|test)\w*", re.IGNORECASE)


def find(source: Path) -> Release:
    """Recognise one of the three releases in a folder, or in a folder inside it.

    Raises:
        DataError: none of them is there, or more than one: they hold the same patients, and are never mixed.
    """
    found = [
        (root, release)
        for root in (source, *folders_in(source))
        for recognise in (_challenge, _sibling, _course)
        if (release := recognise(root)) is not None
    ]
    if not found:
        raise not_recognised(source, TITLE, LAYOUTS)
    if len(found) > 1:
        there = ", ".join(f"{release.name} in {root.name}/" for root, release in found)
        raise DataError.of(source, f"holds {len(found)} releases: {there}", "Name the folder of one of them.")
    return found[0][1]


def _challenge(root: Path) -> Release | None:
    shelves = [*_shelf(root, "train", "MR", "Mask", training=True)]
    if not shelves:
        return None
    for subset in ("test1", "test2"):
        shelves += _shelf(root, subset, "MR", None, training=False)
    release = _release(
        "challenge",
        "MRSpineSeg",
        "Challenge release; the labels of test1 and test2 were never published.",
        shelves,
        schemes=SCHEMES,
        legal_ids=ALL_IDS,
    )
    return replace(release, synthetic=is_phantom(root))


def _sibling(root: Path) -> Release | None:
    shelves = [*_shelf(root, "train", "image", "groundtruth", training=True)]
    if not shelves:
        return None
    shelves += _shelf(root, "test", "image", None, training=False)
    return _release(
        "SpineSagT2Wdataset3",
        "SpineSagT2W",
        "Binary sibling of the challenge's data.",
        shelves,
        schemes=(SIBLING_BINARY,),
        legal_ids=frozenset({0, 1}),
    )


def _course(root: Path) -> Release | None:
    shelves = [*_shelf(root, "train", "source", "label", training=True)]
    shelves += _shelf(root, "test", "source", "label", training=False) if shelves else _course_parts(root)
    if not any(shelf.training for shelf in shelves):
        return None
    return _release(
        "course",
        "MRSpineSegCourse",
        "200-case course release with the challenge's labels.",
        shelves,
        schemes=SCHEMES,
        legal_ids=ALL_IDS,
    )


def _course_parts(root: Path) -> Iterator[Shelf]:
    """Yield the shelves of the downloaded parts; inside them only the names tell images from masks."""
    folders: dict[str, list[Path]] = {"train": [], "test": []}
    for part in folders_in(root):
        match = _COURSE_PART.fullmatch(part.name)
        if match:
            folders[match[1].lower()] += [part, *sorted(p for p in part.rglob("*") if p.is_dir())]
    if folders["train"]:
        yield Shelf(subset="train", images=tuple(folders["train"]), labels=tuple(folders["train"]), training=True)
    if folders["test"]:
        yield Shelf(subset="test", images=tuple(folders["test"]), training=False)


def _shelf(root: Path, subset: str, images: str, labels: str | None, *, training: bool) -> Iterator[Shelf]:
    """Yield the shelf `root/subset` if its folder of images is there."""
    image_folder = subfolder(root, f"{subset}/{images}")
    label_folder = subfolder(root, f"{subset}/{labels}") if labels else None
    if image_folder is not None:
        yield Shelf(
            subset=subset,
            images=(image_folder,),
            labels=(label_folder,) if label_folder else (),
            training=training,
        )


def _release(
    name: str,
    folder_name: str,
    description: str,
    shelves: list[Shelf],
    *,
    schemes: tuple[LabelScheme, ...],
    legal_ids: frozenset[int],
) -> Release:
    cases, findings = collect(shelves, NAMING)
    return Release(
        name=name,
        folder_name=folder_name,
        description=description,
        schemes=schemes,
        legal_ids=legal_ids,
        cases=cases,
        findings=findings,
    )


DATASET = Dataset(
    name="mrspineseg",
    title=TITLE,
    size="172 + 43 cases (challenge), 195 + 20 (SpineSagT2Wdataset3), 200 (course)",
    licence="challenge: research only, no commercial use, signed agreement; the other releases state none",
    citation="Pang S, Pang C, Zhao L, Chen Y, Su Z, Zhou Y, Huang M, Yang W, Lu H, Feng Q. SpineParseNet: Spine "
    "Parsing for Volumetric MR Image by a Two-Stage Segmentation Framework With Semantic Image Representation. "
    "IEEE Transactions on Medical Imaging 40(1): 262-273, 2021.",
    where="https://www.spinesegmentation-challenge.com/?page_id=1162 (agreement by e-mail)",
    channels=("T2",),
    scheme_names=tuple(scheme.name for scheme in SCHEMES),
    layouts=LAYOUTS,
    cranio_caudal_axis_zyx=1,
    find=find,
    notes=(
        "Not every case shows every structure: T9 and T9/T10 are rare, so the folds are stratified.",
        "Names: Case002 here is Case2 there; the challenge's submission is seg_case2.",
    ),
    can_crop=True,
)
