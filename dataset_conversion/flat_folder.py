"""What lies in a flat folder of images: files by their names without ending, and folders of DICOM series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nnunet_spine_ext.data.dicom import DICOM_ENDINGS, holds_dicom
from nnunet_spine_ext.data.stored import ENDINGS, ending_of
from nnunet_spine_ext.errors import Finding

from .layout import folders_in

_DETACHED = (".mhd", ".nhdr", ".hdr", ".img")


def images_in(folder: Path) -> tuple[dict[str, Path], list[Finding]]:
    """Return name without ending → image file or folder of a DICOM series, and what is wrong with names."""
    found: dict[str, list[Path]] = {}
    findings = []
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        if ending_of(path):
            found.setdefault(path.name[: -len(ending_of(path))].lower(), []).append(path)
        elif path.name.lower().endswith(_DETACHED):
            remedy = f"Convert it to one of {' '.join(ENDINGS)}."
            findings.append(Finding(file=path, finding="keeps its voxels in another file", remedy=remedy))
    for series in _series_in(folder):
        found.setdefault(series.name.lower(), []).append(series)
    for paths in found.values():
        others = {p: ", ".join(q.name for q in paths if q != p) for p in paths if len(paths) > 1}
        findings += [
            Finding(file=p, finding=f"has the same name as {other}", remedy="Keep one of them.")
            for p, other in others.items()
        ]
    return {stem_of(paths[0]): paths[0] for paths in found.values()}, findings


def _series_in(folder: Path) -> list[Path]:
    """Return the folders in a folder that hold DICOM files; the folder itself if it does."""
    if holds_dicom(folder):
        return [folder]
    return [inner for inner in folders_in(folder) if holds_dicom(inner)]


def stem_of(path: Path) -> str:
    """Return a name without its known ending; a folder's name whole."""
    ending = ending_of(path) if path.is_file() else ""
    return path.name[: len(path.name) - len(ending)]


def nothing_in(folder: Path) -> Finding:
    """Return the finding for a folder without images."""
    there = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
    remedy = f"Put files ending in {' '.join(ENDINGS)} there, or folders of {' '.join(DICOM_ENDINGS)} files."
    return Finding(file=folder, finding=f"holds no image that can be read (it holds {there})", remedy=remedy)


def examples(names: Mapping[str, Path]) -> str:
    """Return a few names for a message."""
    return ", ".join(sorted(names)[:3]) + (" …" if len(names) > 3 else "")
