"""Finds images and labels by name, and pairs them. Folders and names are compared without regard to case."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine_ext.data.cases import Change, SourceCase
from nnunet_spine_ext.errors import DataError, Finding

_NIFTI = (".nii", ".nii.gz")


def file_name(stem: str, endings: Sequence[str] = _NIFTI) -> re.Pattern[str]:
    """Return the pattern of files called `stem`, a regular expression whose first group is the number."""
    return re.compile(rf"(?i:{stem}(?:{'|'.join(re.escape(ending) for ending in endings)}))")


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How a dataset calls its files and cases."""

    image: re.Pattern[str]
    label: re.Pattern[str]
    image_example: str
    label_example: str
    case_id: Callable[[str], str]
    """Published number → nnU-Net's case id. It must undo differences of spelling (`2`, `02`)."""
    endings: tuple[str, ...] = _NIFTI
    """Of images and labels; files with other endings are passed over."""


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Where one subset of a release lies."""

    subset: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...] = ()
    """Empty: there are none."""
    training: bool


def subfolder(root: Path, path: str) -> Path | None:
    """Return the folder `path` (`train/MR`) below `root`, whatever the case of its letters; None if there is none."""
    for part in path.split("/"):
        found = [p for p in folders_in(root) if p.name.lower() == part.lower()]
        if not found:
            return None
        root = found[0]
    return root


def folders_in(folder: Path) -> list[Path]:
    """Return the visible folders in a folder, sorted."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def not_recognised(source: Path, title: str, layouts: Sequence[str]) -> DataError:
    """Return the error for a folder that holds no known layout: what was expected, what is there."""
    names = [_with_folders(path) for path in sorted(source.iterdir()) if not path.name.startswith(".")]
    there = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    expected = "; or ".join(layouts)
    return DataError.of(source, f"is not {title}: it holds {there or 'nothing'}", f"Name a folder with {expected}.")


def _with_folders(path: Path) -> str:
    """Return a name, for a folder with the folders in it: `train/ (MR/, Mask/)`."""
    if not path.is_dir():
        return path.name
    inner = ", ".join(f"{p.name}/" for p in folders_in(path)[:4])
    return f"{path.name}/ ({inner})" if inner else f"{path.name}/"


def collect(shelves: Sequence[Shelf], naming: Naming) -> tuple[tuple[SourceCase, ...], tuple[Finding, ...]]:
    """Return the cases of all shelves, and what is wrong with their names: missing, unpaired, double, unknown."""
    cases: list[SourceCase] = []
    findings: list[Finding] = []
    for shelf in shelves:
        found, wrong = _collect_shelf(shelf, naming)
        cases += found
        findings += wrong
    return tuple(sorted(cases)), tuple(findings)


def _collect_shelf(shelf: Shelf, naming: Naming) -> tuple[list[SourceCase], list[Finding]]:
    images, other_images = _by_case(shelf.images, naming.image, naming)
    labels, other_labels = _by_case(shelf.labels, naming.label, naming)
    known = {path for paths in (*images.values(), *labels.values()) for path in paths}
    findings = [
        _unknown_name(path, naming, labels=bool(shelf.labels))
        for path in sorted({*other_images, *other_labels} - known)
    ]
    findings += [_double(p, paths) for paths in (*images.values(), *labels.values()) if len(paths) > 1 for p in paths]
    if not images:
        finding = f"holds no image called like {naming.image_example}"
        findings.append(Finding(file=shelf.images[0], finding=finding, remedy="Check that the download is complete."))
    if shelf.training and not shelf.labels:
        finding = f"holds images, but the folder of masks ({naming.label_example}) beside it is missing"
        findings.append(Finding(file=shelf.images[0], finding=finding, remedy="Check that the download is complete."))
    cases = []
    for case, paths in images.items():
        if shelf.labels and case not in labels:
            findings.append(_without_label(paths[0], shelf, naming))
        cases.append(_case(case, paths[0], labels.get(case, [None])[0], shelf, naming))
    findings += [_without_image(labels[case][0], shelf, naming) for case in sorted(labels.keys() - images.keys())]
    return cases, findings


def _by_case(
    folders: Sequence[Path], pattern: re.Pattern[str], naming: Naming
) -> tuple[dict[str, list[Path]], list[Path]]:
    """Return case id → files of that pattern, and the images that do not match it. Hidden files do not count."""
    matching: dict[str, list[Path]] = {}
    others = []
    for path in sorted(p for folder in folders for p in folder.iterdir()):
        if path.name.startswith(".") or not path.name.lower().endswith(naming.endings):
            continue
        match = pattern.fullmatch(path.name)
        if match:
            matching.setdefault(naming.case_id(match[1]), []).append(path)
        else:
            others.append(path)
    return matching, others


def _case(case: str, image: Path, label: Path | None, shelf: Shelf, naming: Naming) -> SourceCase:
    match = naming.image.fullmatch(image.name)
    assert match is not None
    return SourceCase(
        case=case,
        number=match[1],
        patient=case,
        subset=shelf.subset,
        training=shelf.training,
        image=image,
        label=label,
        changes=(
            *_spelling(image, naming.image_example, file="image"),
            *(_spelling(label, naming.label_example, file="label") if label else ()),
        ),
    )


def _spelling(path: Path, example: str, *, file: str) -> tuple[Change, ...]:
    """Return a record if a name differs from the published one by the case of its letters alone."""
    stem, dot, ending = path.name.partition(".")
    numbers = iter(re.findall(r"\d+", stem))
    published = re.sub(r"\d+", lambda _: next(numbers, ""), example.partition(".")[0]) + dot + ending.lower()
    same = published.lower() == path.name.lower()
    return (renamed(path, published, file=file),) if same and published != path.name else ()


def renamed(path: Path, taken_for: str, *, file: str) -> Change:
    """Return the record of a name whose letters have the wrong case."""
    why = "names are compared without regard to capitals"
    return Change(file=file, repair="letter case", what=f"{path.name} taken for {taken_for}", why=why)


def _unknown_name(path: Path, naming: Naming, *, labels: bool) -> Finding:
    finding = f"is not called like {naming.image_example}" + (f" or {naming.label_example}" if labels else "")
    return Finding(file=path, finding=finding, remedy="Rename it, or move it out of the folder.")


def _double(path: Path, paths: Sequence[Path]) -> Finding:
    others = ", ".join(p.name for p in paths if p != path) or path.name
    return Finding(file=path, finding=f"has the same number as {others}", remedy="Keep one of them.")


def _without_label(path: Path, shelf: Shelf, naming: Naming) -> Finding:
    finding = f"has no mask: nothing like {naming.label_example} with its number in {_names(shelf.labels)}"
    return Finding(file=path, finding=finding, remedy="Get the mask, or move the image out of the folder.")


def _without_image(path: Path, shelf: Shelf, naming: Naming) -> Finding:
    finding = f"is a mask without image: nothing like {naming.image_example} with its number in {_names(shelf.images)}"
    return Finding(file=path, finding=finding, remedy="Get the image, or move the mask out of the folder.")


def _names(folders: Sequence[Path]) -> str:
    return ", ".join(f"{folder.name}/" for folder in folders[:3]) + (" …" if len(folders) > 3 else "")
