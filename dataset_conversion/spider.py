"""SPIDER (van der Graaf et al. 2024): 447 lumbar MR series (T1, T2, T2 SPACE) of 218 patients.

Published as `images/1_t1.mha` and `masks/1_t1.mha`, with `overview.csv` (which patients are for training, which for
validation) and `radiological_gradings.csv`. Ids in the masks:

    1..25      vertebrae, counted from the lowest lumbar one upwards: a position, not a name
    101..125   the same, only partly in view
    100        spinal canal
    201..225   discs: 200 + the vertebra above
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import SimpleITK as sitk

from nnunet_spine_ext.data.case_loading import count_ids
from nnunet_spine_ext.data.cases import SourceCase, UnrepairableError
from nnunet_spine_ext.data.geometry import voxels
from nnunet_spine_ext.data.labels import LabelScheme

from .frame import Dataset, Release
from .layout import Naming, Shelf, collect, file_name, folders_in, not_recognised, subfolder
from .reorientation import axes_to_psr
from .spider_overview import OVERVIEW, with_subsets

TITLE = "SPIDER, lumbar spine MRI"
LAYOUTS = ("images/N_t1.mha, N_t2.mha, N_t2_SPACE.mha and masks/ with the same names (and overview.csv)",)
POSITIONS = 10
"""Vertebrae that have classes of their own; the published series show at most nine whole ones."""
CANAL, PARTIAL, DISC, HIGHEST = 100, 100, 200, 25

VERTEBRAE = tuple((f"vertebra {n}", (n, PARTIAL + n)) for n in range(1, POSITIONS + 1))
WHOLE = tuple((f"vertebra {n}", (n,)) for n in range(1, POSITIONS + 1))
OTHERS = (
    ("spinal canal", (CANAL,)),
    *((f"disc below vertebra {n}", (DISC + n,)) for n in range(1, POSITIONS + 1)),
)
_ANY_WHOLE = tuple(range(1, HIGHEST + 1))
_ANY_PARTIAL = tuple(range(PARTIAL + 1, PARTIAL + HIGHEST + 1))
_ANY_DISC = tuple(range(DISC + 1, DISC + HIGHEST + 1))

ALL = LabelScheme(
    name="all",
    description="Vertebrae and discs by position from below, canal; a vertebra partly in view counts as any other.",
    structures=(*VERTEBRAE, *OTHERS),
    ordered=True,
)
IGNORE_PARTIAL = LabelScheme(
    name="ignore_partial",
    description="As all, but vertebrae partly in view are nnU-Net's ignore label: neither trained on nor measured.",
    structures=(*WHOLE, *OTHERS, ("ignore", _ANY_PARTIAL)),
    ordered=True,
)
TISSUES = LabelScheme(
    name="tissues",
    description="Vertebrae, spinal canal and discs, each as one structure; vertebrae partly in view are vertebrae.",
    structures=(("vertebrae", (*_ANY_WHOLE, *_ANY_PARTIAL)), ("spinal canal", (CANAL,)), ("discs", _ANY_DISC)),
    ordered=False,
)
SCHEMES = (ALL, IGNORE_PARTIAL, TISSUES)
_SEQUENCES = {"t1": "t1", "t2": "t2", "t2_space": "t2_SPACE"}
_PATTERN = file_name(r"(\d+_(?:t1|t2|t2_space))", (".mha",))


def _case_id(number: str) -> str:
    patient, sequence = number.split("_", 1)
    return f"Spider{int(patient):03d}_{_SEQUENCES[sequence.lower()]}"


NAMING = Naming(
    image=_PATTERN,
    label=_PATTERN,
    image_example="1_t1.mha",
    label_example="1_t1.mha",
    case_id=_case_id,
    endings=(".mha",),
)


def find(source: Path) -> Release:
    """Recognise the data set in a folder, or in a folder inside it.

    Raises:
        DataError: it is not there.
    """
    for root in (source, *folders_in(source)):
        images, masks = subfolder(root, "images"), subfolder(root, "masks")
        if images is not None and any(_PATTERN.fullmatch(p.name) for p in (*images.iterdir(), *_inside(masks))):
            shelf = Shelf(subset="train", images=(images,), labels=(masks,) if masks else (), training=True)
            return _release(shelf, root / OVERVIEW)
    raise not_recognised(source, TITLE, LAYOUTS)


def _inside(folder: Path | None) -> list[Path]:
    return [] if folder is None else list(folder.iterdir())


def _release(shelf: Shelf, overview: Path) -> Release:
    cases, findings = collect([shelf], NAMING)
    cases, wrong = with_subsets([_of_patient(case) for case in cases], overview)
    return Release(
        name="Zenodo 10159290",
        folder_name="SPIDER",
        description="T1, T2 and T2 SPACE series as cases of their own.",
        schemes=SCHEMES,
        legal_ids=frozenset({0, CANAL, *_ANY_WHOLE, *_ANY_PARTIAL, *_ANY_DISC}),
        cases=cases,
        findings=(*findings, *wrong),
        derive={scheme.name: positions_within_reach for scheme in (ALL, IGNORE_PARTIAL)},
    )


def _of_patient(case: SourceCase) -> SourceCase:
    return replace(case, patient=f"Spider{int(case.number.split('_')[0]):03d}")


def positions_within_reach(image: sitk.Image) -> tuple[sitk.Image, None]:
    """Refuse a vertebra or disc above the highest position that has a class; change nothing.

    Raises:
        UnrepairableError: there is one, and it would become background.
    """
    high = [i for i in count_ids(voxels(image)) if i != CANAL and i % 100 > POSITIONS]
    if high:
        finding = f"holds the ids {', '.join(map(str, high))}, but positions above {POSITIONS} have no class"
        raise UnrepairableError(finding, "Check the mask, leave the case out, or convert with --labels tissues.")
    return image, None


DATASET = Dataset(
    name="spider",
    title=TITLE,
    size="447 series of 218 patients",
    licence="CC BY 4.0",
    citation="van der Graaf JW, van Hooff ML, Buckens CFM, Rutten M, van Susante JLC, Kroeze RJ, de Kleuver M, "
    "van Ginneken B, Lessmann N. Lumbar spine segmentation in MR images: a dataset and a public benchmark. "
    "Scientific Data 11: 264, 2024.",
    where="https://doi.org/10.5281/zenodo.10159290",
    channels=("MR",),
    scheme_names=tuple(scheme.name for scheme in SCHEMES),
    layouts=LAYOUTS,
    cranio_caudal_axis_zyx=1,
    find=find,
    image_steps=(axes_to_psr,),
    label_steps=(axes_to_psr,),
    notes=(
        "Vertebrae are counted from the lowest lumbar one upwards. Vertebra 1 is not L5 in every patient: transitional "
        "vertebrae are counted like any other.",
        "All series of a patient are on the same side of every fold. splits_published.json holds the publisher's own "
        "training and validation patients (overview.csv) as a single fold: copy it over splits_final.json to use it.",
        "Axes were turned by the headers to posterior, superior, right (no interpolation), so that arrays are "
        "(sagittal slices, height, depth) in all cases. `nnunet_spine prepare` turns other images alike before "
        "predicting.",
    ),
)
