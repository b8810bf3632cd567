"""Synthetic thick-slice sagittal spines in the folders of the MRSpineSeg challenge, for the demo and for tests.

    OUT/train/MR/CaseN.nii.gz             int16, oblique (P, S, R), sform only, spacing so that the field of view stays
    OUT/train/Mask/mask_caseN.nii.gz      uint16, ids 0..19
    OUT/test1/MR/CaseN.nii.gz
    OUT/test1_reference/mask_caseN.nii.gz what the challenge keeps to itself: for evaluation here
    OUT/phantom.json                      the settings; a folder is only ever continued with the same ones

The spine itself is in `phantom_anatomy`, the painting in `phantom_render`, the grey values in `phantom_signal`. It is
no patient and no claim about accuracy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from nnunet_spine_ext.data.files import make_folder, whole_file, write_json
from nnunet_spine_ext.data.geometry import Array
from nnunet_spine_ext.data.parallel import in_parallel
from nnunet_spine_ext.data.phantom_shapes import FIELD_OF_VIEW_MM
from nnunet_spine_ext.data.phantom_signal import SLICE_MM, render_scan
from nnunet_spine_ext.errors import DataError

SETTINGS_FILE = "phantom.json"
SIZES = (64, 1024)
"""Smallest and largest number of rows and columns."""
SLICES = (8, 15)
_VERSION = 1
"""Of the synthetic anatomy: raise it whenever the same seed gives other pictures."""

# Ids of the challenge: 1 to 215, these 43 belong to its test sets (specs of the release).
_TEST_IDS = (
    1, 3, 4, 11, 15, 21, 28, 42, 44, 47, 49, 50, 51, 60, 63, 65, 70, 74, 86, 94, 95, 96, 99, 114, 117, 119, 124, 125,
    126, 131, 135, 147, 151, 157, 183, 189, 192, 195, 201, 206, 207, 209, 211,
)  # fmt: skip
_TRAINING_IDS = tuple(i for i in range(1, 216) if i not in _TEST_IDS)

# The highest annotated structure of each twenty cases, about as often as in the challenge's 172 training cases: there
# 8 have T9, 13 T9/T10, 44 T10, 64 T10/T11, 162 T11, 167 T11/T12. The rarest stands in the first ten.
_TOPS = (
    ("T9", "T10", "T10", "T10/T11", "T11/T12", "T11", "T11", "T11", "T11", "T11"),
    ("T9/T10", "T10", "T10/T11", "T12", "T11", "T11", "T11", "T11", "T11", "T11"),
)


@dataclass(frozen=True, kw_only=True)
class _Task:
    image: Path
    mask: Path
    seed: tuple[int, ...]
    top: str
    size: int
    slices: int


def write_phantom(
    out: Path,
    *,
    cases: int,
    test_cases: int = 2,
    size: int = 880,
    slices: int = 12,
    seed: int = 0,
    processes: int = 1,
) -> None:
    """Write synthetic cases in the layout above; cases that are there already are kept, so it resumes and it extends.

    A case depends on `seed`, its own number, `size` and `slices` only, not on how many others there are. Ids are not
    contiguous (the challenge's own). S, L5 to T12 and the discs between them are in every case; T11 and above as the
    field of view cuts them off. Of the first ten training cases one has T9.

    Args:
        out: folder to write to; made if absent.
        cases: number of training cases.
        test_cases: number of test cases.
        size: rows and columns of a slice, 64 to 1024; the field of view is 303 mm whatever the size.
        slices: sagittal slices of 4.4 mm, 8 to 15.
        seed: non-negative.
        processes: worker processes.

    Raises:
        ValueError: a number is out of its range.
        DataError: `out` holds a phantom of other settings, or cannot be written.
    """
    _check_numbers(cases=cases, test_cases=test_cases, size=size, slices=slices, seed=seed)
    _claim(out, {"version": _VERSION, "size": size, "slices": slices, "seed": seed})
    tasks = []
    for stream, count in enumerate((cases, test_cases)):
        images, masks = [(out / "train/MR", out / "train/Mask"), (out / "test1/MR", out / "test1_reference")][stream]
        for position, (number, top) in enumerate(zip(_ids(stream, count), _tops(seed, stream, count), strict=True)):
            tasks.append(
                _Task(
                    image=images / f"Case{number}.nii.gz",
                    mask=masks / f"mask_case{number}.nii.gz",
                    seed=(seed, stream, position),
                    top=top,
                    size=size,
                    slices=slices,
                )
            )
    missing = [task for task in tasks if not (task.image.is_file() and task.mask.is_file())]
    for folder in sorted({folder for task in missing for folder in (task.image.parent, task.mask.parent)}):
        make_folder(folder)
    in_parallel(_write_case, missing, processes=processes, description="Phantom")


def _check_numbers(*, cases: int, test_cases: int, size: int, slices: int, seed: int) -> None:
    if not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"size must be {SIZES[0]} to {SIZES[1]}, got {size}")
    if not SLICES[0] <= slices <= SLICES[1]:
        raise ValueError(f"slices must be {SLICES[0]} to {SLICES[1]}, got {slices}")
    for name, number in (("cases", cases), ("test_cases", test_cases), ("seed", seed)):
        if number < 0:
            raise ValueError(f"{name} must not be negative, got {number}")


def is_phantom(folder: Path) -> bool:
    """Return whether `folder` was written by `write_phantom`."""
    return (folder / SETTINGS_FILE).is_file()


def _claim(out: Path, settings: dict[str, int]) -> None:
    """Write the settings, or check those that are there.

    Raises:
        DataError: they differ.
    """
    path = out / SETTINGS_FILE
    if not path.is_file():
        make_folder(out)
        write_json(settings, path)
        return
    try:
        there = json.loads(path.read_text())
    except ValueError:
        there = None
    if there != settings:
        remedy = "Choose another folder, or delete this one."
        raise DataError.of(path, f"this phantom was made with {there}, not with {settings}", remedy)


def _ids(stream: int, count: int) -> list[int]:
    """Return the case numbers: the challenge's own, then odd numbers for training and even ones for testing."""
    published = (_TRAINING_IDS, _TEST_IDS)[stream]
    beyond = range(217 - stream, 217 - stream + 2 * max(count - len(published), 0), 2)
    return [*published[:count], *beyond]


def _tops(seed: int, stream: int, count: int) -> list[str]:
    """Return the highest annotated structure of each case."""
    tops: list[str] = []
    for block in range(-(-count // 10)):
        order = np.random.default_rng([seed, stream, block, 0]).permutation(10)
        tops += [_TOPS[block % 2][i] for i in order]
    return tops[:count]


def _write_case(task: _Task) -> None:
    """Render and write one case; the image comes last, so where it is, its mask is too."""
    rng = np.random.default_rng([*task.seed, 1])
    scan = render_scan(rng, size=task.size, slices=task.slices, top=task.top)
    affine = _affine(rng, size=task.size, slices=task.slices)
    _write_nifti(scan.labels, affine, task.mask)
    _write_nifti(scan.image, affine, task.image)


def _affine(rng: np.random.Generator, *, size: int, slices: int) -> Array:
    """Return voxel (A → P, I → S, L → R) to RAS mm: a few degrees oblique, as positioned by hand."""
    turn = np.radians(rng.choice((-1, 1)) * rng.uniform(1, 6))
    lean = np.radians(rng.uniform(-1, 1))
    about_ap = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    about_lr = np.array([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]])
    straight = np.array([[0, 0, 1], [-1, 0, 0], [0, 1, 0]])
    pixel_mm = FIELD_OF_VIEW_MM / size
    affine = np.eye(4)
    affine[:3, :3] = about_ap @ about_lr @ straight * [pixel_mm, pixel_mm, SLICE_MM]
    middle = rng.uniform((-15, -80, -20), (15, -40, 60))
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array([size, size, slices]) - 1) / 2)
    return affine


def _write_nifti(volume: Array, affine: Array, path: Path) -> None:
    """Write (slices, rows, columns) as NIfTI with an sform and no qform, as the challenge's files are."""
    image = nib.Nifti1Image(volume.T, affine)
    image.header.set_slope_inter(1, 0)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(None, code=0)
    with whole_file(path) as partial:
        nib.save(image, partial)
