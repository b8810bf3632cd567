"""Prepares later test images as the images of a dataset were: axes turned, bias field corrected, by its own record.

OUT/CASE_0000.nii.gz    prepared, under the names of the originals
OUT/prepared.json       steps and parameters; per image checksums in and out, what was changed, what N4 did, and the
                        grid that its axes were turned from, so that a prediction can be turned back
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine_ext.data import n4
from nnunet_spine_ext.data.cases import Step, UnrepairableError
from nnunet_spine_ext.data.files import make_folder, sha256_of, write_json
from nnunet_spine_ext.data.geometry import Grid, flattened, write_image
from nnunet_spine_ext.data.n4_options import N4Options
from nnunet_spine_ext.data.parallel import in_parallel
from nnunet_spine_ext.data.repairs import STANDARD, apply_steps, repair_voxels
from nnunet_spine_ext.data.stored import VOLUME_ENDINGS, ending_of, read_stored
from nnunet_spine_ext.data.turning_back import RECORD_FILE, TURNED_FROM
from nnunet_spine_ext.errors import DataError, Finding

FILE_ENDING = ".nii.gz"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What a dataset did to its images, and later ones need too."""

    image_steps: tuple[Step, ...] = ()
    n4: N4Options | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what decides the written files."""
        steps = [step.__name__ for step in self.image_steps]
        return {"image_steps": steps, "n4": None if self.n4 is None else self.n4.to_json()}


@dataclass(frozen=True, kw_only=True)
class _Task:
    source: Path
    target: Path
    preparation: Preparation
    known: Mapping[str, Any] | None
    """What an earlier run recorded of this image."""


def recorded_preparation(dataset: Path, steps: Mapping[str, Step]) -> Preparation:
    """Return what was done to a dataset's images beyond copying them.

    Args:
        dataset: the dataset's folder in nnUNet_raw.
        steps: name → step, of all that converters do to images.

    Raises:
        DataError: its dataset.json records nothing of the kind or an unknown step, or cannot be read.
    """
    path = dataset / "dataset.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        options, names = n4.options_of(description), list(description.get("spine", {}).get("image_steps", []))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError.of(path, f"cannot be read ({error})", "Convert the dataset again.") from error
    unknown = [str(name) for name in names if name not in steps]
    if unknown:
        raise DataError.of(path, f"records the unknown steps {', '.join(unknown)}", "Convert the dataset again.")
    if options is None and not names:
        finding = "records nothing that its images went through: no axes turned, no N4 correction"
        raise DataError.of(path, finding, "Predict from the images as they are.")
    return Preparation(image_steps=tuple(steps[name] for name in names), n4=options)


def prepare_folder(images: Path, output: Path, *, preparation: Preparation, processes: int = 1) -> list[Path]:
    """Prepare every image of a folder; return the files written or found finished.

    What an earlier run finished, from the same images and in the same way, is kept.

    Args:
        images: folder of images (.nii, .nii.gz, .nrrd, .mha).
        output: another folder; made if absent.
        preparation: see `recorded_preparation`.
        processes: images in work at once; memory grows with it.

    Raises:
        DataError: with everything that is wrong; the good images are prepared nevertheless.
    """
    if images.resolve() == output.resolve():
        raise DataError.of(output, "is the folder of the originals", "Choose another folder with -o.")
    make_folder(output)
    tasks = _tasks(images, output, preparation)
    results = in_parallel(_prepare_one, tasks, processes=processes, description="Preparing")
    done = {t.target.name: r for t, r in zip(tasks, results, strict=True) if not isinstance(r, DataError)}
    write_json({"options": preparation.to_json(), "files": done}, output / RECORD_FILE)
    for task in tasks:
        _record_of(task.target).unlink(missing_ok=True)
    findings = [finding for result in results if isinstance(result, DataError) for finding in result.findings]
    if findings:
        raise DataError(findings)
    return [task.target for task in tasks]


def _tasks(images: Path, output: Path, preparation: Preparation) -> list[_Task]:
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
    known = finished.get("files", {}) if finished.get("options") == preparation.to_json() else {}
    return [
        _Task(source=p, target=t, preparation=preparation, known=known.get(t.name) or _read(_record_of(t)) or None)
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
    options = task.preparation.to_json()
    same = known.get("sha256_in") == made_from and known.pop("options", options) == options
    whole = same and task.target.is_file() and sha256_of(task.target) == known.get("sha256_out")
    return known if whole else None


def _prepare_one(task: _Task) -> dict[str, Any] | DataError:
    """Return the record of one image, or what is wrong with it."""
    try:
        made_from = sha256_of(task.source)
        finished = _finished(task, made_from)
        if finished is not None:
            return finished
        facts = _write(task)
    except UnrepairableError as error:
        return error.about(task.source)
    except DataError as error:
        return error
    entry = {"sha256_in": made_from, "sha256_out": sha256_of(task.target), **facts}
    write_json({**entry, "options": task.preparation.to_json()}, _record_of(task.target))
    return entry


def _write(task: _Task) -> dict[str, Any]:
    """Write one image; return what is worth recording of that."""
    preparation = task.preparation
    stored = read_stored(task.source, file="image", repairs=STANDARD)
    image, repaired = repair_voxels(stored.image, STANDARD, of="image", file="image")
    steps = [(step.__name__.replace("_", " "), step) for step in preparation.image_steps]
    before = Grid.of(image)
    image, stepped = apply_steps(image, steps, file="image")
    facts: dict[str, Any] = {"changes": [change.what for change in (*stored.changes, *repaired, *stepped)]}
    if Grid.of(image) != before:
        facts[TURNED_FROM] = before.to_json()
    if preparation.n4 is not None:
        image, done = n4.correct(image, preparation.n4)
        facts["n4"] = done.to_json()
    write_image(flattened(image) if stored.flat else image, task.target)
    return facts
