"""Fake VerSe: the published folders and names of 2019 and 2020, several orientations, masks as uint8 or float64."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from numpy.typing import NDArray

SIZE_RAS = (12, 20, 36)
AFFINE_RAS = np.array([[0.9, 0, 0, -5.0], [0, 0.9, 0, 7.0], [0, 0, 2.0, -30.0], [0, 0, 0, 1]])
IDS = (19, 28, 20, 21)
"""T12, T13, L1, L2 from above; nine voxels of height each."""
SCANS = {
    "dataset-verse19training": ("sub-verse004", "sub-verse401_split-verse253", "sub-verse401_split-verse254"),
    "dataset-verse19validation": ("sub-verse010",),
    "dataset-verse20training": ("sub-gl003_dir-ax", "sub-verse500_dir-sag"),
    "dataset-verse20test": ("sub-gl195_dir-iso", "sub-verse600"),
}
CODES = {"sub-verse004": "PIR", "sub-gl003_dir-ax": "LPS", "sub-verse500_dir-sag": "ASL"}
"""Nibabel's codes; other scans are RAS."""


def ct_ras(number: int) -> NDArray[np.int16]:
    return np.random.default_rng(number).integers(-1000, 1500, SIZE_RAS).astype(np.int16)


def mask_ras(ids: Collection[int] = IDS) -> NDArray[np.uint8]:
    """Return one block per vertebra, from the top; larger in front and on the left, so that a flip shows."""
    voxels = np.zeros(SIZE_RAS, dtype=np.uint8)
    for position, i in enumerate(ids):
        top = SIZE_RAS[2] - 9 * position
        voxels[2:7, 8:18, top - 8 : top - 1] = i
    return voxels


def save(voxels_ras: NDArray[np.generic], path: Path, codes: str = "RAS") -> Path:
    """Write an array that is in RAS order as a file whose axes run as `codes` say."""
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    turned = apply_orientation(voxels_ras, turn)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(turned, AFFINE_RAS @ inv_ornt_aff(turn, SIZE_RAS), dtype=turned.dtype), path)
    return path


def image_path(root: Path, folder: str, scan: str) -> Path:
    return root / folder / "rawdata" / scan.split("_")[0] / f"{scan}_ct.nii.gz"


def label_path(root: Path, folder: str, scan: str) -> Path:
    return root / folder / "derivatives" / scan.split("_")[0] / f"{scan}_seg-vert_msk.nii.gz"


def centroids_path(root: Path, folder: str, scan: str) -> Path:
    return label_path(root, folder, scan).with_name(f"{scan}_seg-subreg_ctd.json")


def write_scan(root: Path, folder: str, scan: str, *, number: int = 0, ids: Collection[int] = IDS) -> None:
    codes = CODES.get(scan, "RAS")
    mask = mask_ras(ids)
    save(ct_ras(number), image_path(root, folder, scan), codes)
    save(mask.astype(np.float64) if number % 2 else mask, label_path(root, folder, scan), codes)
    entries = [{"direction": list(codes)}, *({"label": i, "X": 1.5, "Y": 2.0, "Z": 3.0} for i in ids)]
    centroids_path(root, folder, scan).write_text(json.dumps(entries))
    label_path(root, folder, scan).with_name(f"{scan}_seg-vert_snp.png").write_bytes(b"a preview")


def write(root: Path, scans: Mapping[str, Collection[str]] = SCANS) -> Path:
    pairs = [(folder, scan) for folder, names in scans.items() for scan in names]
    for number, (folder, scan) in enumerate(pairs):
        write_scan(root, folder, scan, number=number)
    return root
