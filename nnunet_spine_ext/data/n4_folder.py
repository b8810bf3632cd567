"""Corrects later test images by N4, with the parameters that the dataset records.

OUT/CASE_0000.nii.gz    corrected, under the names of the originals
OUT/n4.json             parameters; per image checksums in and out, the field's range, seconds
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine_ext.data import n4
from nnunet_spine_ext.data.cases import UnrepairableError
from nnunet_spine_ext.data.files import sha256_of, write_json, writing
from nnunet_spine_ext.data.geometry import flattened, write_image
from nnunet_spine_ext.data.n4_options import N4Options
from nnunet_spine_ext.data.parallel import in_parallel
from nnunet_spine_ext.data.repairs import STANDARD, repair_voxels
from nnunet_spine_ext.data.stored import VOLUME_ENDINGS, ending_of, read_stored
from nnunet_spine_ext.errors import DataError, Finding

RECORD_FILE = "n4.json"
FILE_ENDING = ".nii.gz"


@dataclass(frozen=True, kw_only=True)
class _Task:
    source: Path
    target: Path
    options: N4Options
    known: Mapping[str, Any] | None
    """What an earlier run recorded of this image."""


def recorded_options(dataset: Path) -> N4Options:
    """Return the options with which a dataset's images were corrected.

    Args:
        dataset: the dataset's folder in nnUNet_raw.

    Raises:
        DataError: its dataset.json says nothing of N4, or cannot be read.
    """
    path = dataset / "dataset.json"
    try:
        options = n4.options_of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError.of(path, f"cannot be read ({error})", "Convert the dataset again.") from error
    if options is None:
        finding = "records no N4 correction: the dataset was converted without --n4"
        raise DataError.of(path, finding, "Predict from the images as they are.")
    return options


def correct_folder(images: Path, output: Path, *, options: N4Options, processes: int = 1) -> list[Path]:
    """Correct every image of a folder; return the files written or found finished.

    What an earlier run finished, from the same images and with the same options, is kept.

    Args:
        images: folder of images (.nii, .nii.gz, .nrrd, .mha).
        output: another folder; made if absent.
        options: see `recorded_options`.
        processes: images in work at once; memory grows with it.

    Raises:
        DataError: with everything that is wrong; the good images are corrected nevertheless.
    """
    if images.resolve() == output.resolve():
        raise DataError.of(output, "is the folder of the originals", "Choose another folder with -o.")
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    tasks = _tasks(images, output, options)
    results = in_parallel(_correct_one, tasks, processes=processes, description="N4")
    done = {t.target.name: r for t, r in zip(tasks, results, strict=True) if not isinstance(r, DataError)}
    write_json({"options": options.to_json(), "files": done}, output / RECORD_FILE)
    for task in tasks:
        _record_of(task.target).unlink(missing_ok=True)
    findings = [finding for result in results if isinstance(result, DataError) for finding in result.findings]
    if findings:
        raise DataError(findings)
    return [task.target for task in tasks]


def _tasks(images: Path, output: Path, options: N4Options) -> list[_Task]:
    if not images.is_dir():
        raise DataError.of(images, "no such folder", "Name the folder of the images.")
    sources = [p for p in sorted(images.iterdir()) if ending_of(p) in VOLUME_ENDINGS and not p.name.startswith(".")]
    if not sources:
        raise DataError.of(images, "holds no image", f"Name a folder of {' '.join(VOLUME_ENDINGS)} files.")
    targets = [output / (p.name[: -len(ending_of(p))] + FILE_ENDING) for p in sources]
    twice = [
        Finding(file=p, finding=f"is not the only image called {t.name}", remedy="Keep one of them.")
        for p, t in zip(sources, targets, strict=True)
        if targets.count(t) > 1
    ]
    if twice:
        raise DataError(twice)
    finished = _read(output / RECORD_FILE)
    known = finished.get("files", {}) if finished.get("options") == options.to_json() else {}
    return [
        _Task(source=p, target=t, options=options, known=known.get(t.name) or _read(_record_of(t)) or None)
        for p, t in zip(sources, targets, strict=True)
    ]


def _record_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _finished(task: _Task, made_from: str) -> dict[str, Any] | None:
    """Return the record of an earlier run if it still holds: same image, same options, result as it was written."""
    known = dict(task.known or {})
    options = task.options.to_json()
    same = known.get("sha256_in") == made_from and known.pop("options", options) == options
    whole = same and task.target.is_file() and sha256_of(task.target) == known.get("sha256_out")
    return known if whole else None


def _correct_one(task: _Task) -> dict[str, Any] | DataError:
    """Return the record of one image, or what is wrong with it."""
    try:
        made_from = sha256_of(task.source)
        finished = _finished(task, made_from)
        if finished is not None:
            return finished
        stored = read_stored(task.source, file="image", repairs=STANDARD)
        image, _ = repair_voxels(stored.image, STANDARD, of="image", file="image")
        corrected, facts = n4.correct(image, task.options)
        write_image(flattened(corrected) if stored.flat else corrected, task.target)
    except UnrepairableError as error:
        return error.about(task.source)
    except DataError as error:
        return error
    entry = {"sha256_in": made_from, "sha256_out": sha256_of(task.target), **facts.to_json()}
    write_json({**entry, "options": task.options.to_json()}, _record_of(task.target))
    return entry
