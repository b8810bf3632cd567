"""Lower-spine T2 MRI of Chu et al. 2015: 23 patients, one id for all vertebral bodies T11..L5 (paper 001's data).

Published flat, uncompressed: `Img_01.nii` and `Img_01_Labels.nii` … 39 sagittal slices of 305 x 305 pixels, 2 mm apart,
1.25 mm in plane. The slice axis is the *first* axis in nibabel's order, so it is the last of nnU-Net's arrays
(305, 305, 39). Some copies are sorted into `Dataset/Images` and `Dataset/Labels`. Any number of the cases may be there.
"""

from __future__ import annotations

from pathlib import Path

from nnunet_spine_ext.data.labels import LabelScheme, identity_scheme

from .chu_steps import BODIES, anterior_posterior_turned_round, numbered_bodies
from .frame import Dataset, Release
from .layout import Naming, Shelf, collect, file_name, not_recognised, subfolder

TITLE = "Lower-spine T2 MRI of Chu et al. 2015"
LAYOUTS = (
    "Img_XX.nii and Img_XX_Labels.nii side by side",
    "Dataset/Images/Img_XX.nii and Dataset/Labels/Img_XX_Labels.nii",
)
BINARY = LabelScheme(
    name="binary",
    description="All vertebral bodies T11..L5 as one structure, as published.",
    structures=(("vertebral bodies", (1,)),),
    ordered=False,
)
VERTEBRAE = identity_scheme(
    "vertebrae",
    "One id per vertebral body: the seven components of the published mask, counted from the lowest, which is L5.",
    BODIES,
)
PAPER_TEST = ("04", "08", "17", "18")
"""Four of the 23 patients to test on, as many as in paper 001, which drew them at random and does not say which.

These are the four with the lowest lots `sha256("12345 Img_XX")` (12345 is nnU-Net's seed), drawn once and for all.
"""
NAMING = Naming(
    image=file_name(r"Img_(\d+)"),
    label=file_name(r"Img_(\d+)_Labels"),
    image_example="Img_01.nii",
    label_example="Img_01_Labels.nii",
    case_id=lambda number: f"Img_{int(number):02d}",
)


def find(source: Path) -> Release:
    """Recognise the data set in a folder.

    Raises:
        DataError: neither layout is there.
    """
    shelf = _shelf(source)
    if shelf is None:
        raise not_recognised(source, TITLE, LAYOUTS)
    cases, findings = collect([shelf], NAMING)
    return Release(
        name="Zenodo 22304",
        folder_name="ChuLowerSpine",
        description="23 patients, T2, sagittal; bodies only, neither posterior elements nor sacrum.",
        schemes=(BINARY, VERTEBRAE),
        legal_ids=frozenset({0, 1}),
        cases=cases,
        findings=findings,
        derive={VERTEBRAE.name: numbered_bodies},
    )


def _shelf(source: Path) -> Shelf | None:
    for root in (source, subfolder(source, "Dataset")):
        images, labels = (subfolder(root, name) if root else None for name in ("Images", "Labels"))
        if images and labels:
            return Shelf(subset="train", images=(images,), labels=(labels,), training=True)
    if any(NAMING.image.fullmatch(path.name) or NAMING.label.fullmatch(path.name) for path in source.iterdir()):
        return Shelf(subset="train", images=(source,), labels=(source,), training=True)
    return None


DATASET = Dataset(
    name="chu",
    title=TITLE,
    size="23 cases",
    licence="see the Zenodo record",
    citation="Chu C, Belavý DL, Armbrecht G, Bansmann M, Felsenberg D, Zheng G. Fully Automatic Localization and "
    "Segmentation of 3D Vertebral Bodies from CT/MR Images via a Learning-Based Method. "
    "PLOS ONE 10(11): e0143327, 2015.",
    where="https://doi.org/10.5281/zenodo.22304",
    channels=("T2",),
    scheme_names=(BINARY.name, VERTEBRAE.name),
    layouts=LAYOUTS,
    # The third axis of the file (nibabel) runs to superior, by the header and in truth; it is nnU-Net's first.
    cranio_caudal_axis_zyx=0,
    find=find,
    header_step=anterior_posterior_turned_round,
    hold_outs={"paper": PAPER_TEST},
    notes=(
        "The headers say that the second file axis runs to anterior; the images show that it runs to posterior. "
        "Left and right are unknown. Without --correct-headers the headers were kept as distributed and nothing was "
        "reoriented: do not take anterior, posterior, left or right from them. With it the header of that axis was "
        "turned round (left and right are as distributed, still unknown); the order of the voxels is the same.",
        "Vertebrae above T11 and S1 are visible but not labelled.",
        f"--hold-out paper: the patients {', '.join(PAPER_TEST)} are the test set, 19 are left to train on, as many as "
        "in paper 001 (Res50_UNet). It does not say which; these were drawn by lot. The folds are ours: five, by "
        "patient, of those left.",
    ),
)
