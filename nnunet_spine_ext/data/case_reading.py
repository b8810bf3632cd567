"""Reads one case and checks all that can be wrong with it: the first pass of a conversion, which writes nothing.

Repaired, with a record: header noise between label and image. Refused: a label of another shape or from another place,
a label without any structure, a crop that would cut labelled voxels off. The rest is in `case_loading` and `repairs`.
"""

from __future__ import annotations

import math
from pathlib import Path

from nnunet_spine_ext.data.case_loading import LoadedImage, LoadedLabel, count_ids, load_image, load_label
from nnunet_spine_ext.data.cases import CaseRules, Change, ImageFacts, LabelFacts, Reading, SourceCase
from nnunet_spine_ext.data.cropping import Crop, crop_background
from nnunet_spine_ext.data.files import sha256_of, size_of
from nnunet_spine_ext.data.geometry import Array, Grid, voxels
from nnunet_spine_ext.data.headers import HARMLESS_SHIFT_VOXELS, cranio_caudal_axis_zyx, orientation, shift_voxels
from nnunet_spine_ext.data.integrity import is_gzip
from nnunet_spine_ext.data.stored import NIFTI_ENDINGS, ending_of
from nnunet_spine_ext.errors import DataError, Finding

_GZIP_LEAVES = 0.7
_LABEL_GZIP_LEAVES = 0.02
"""What gzip leaves of MR voxels and of label maps: for the estimate of disk space only."""


def read_case(case: SourceCase, rules: CaseRules) -> Reading:
    """Read and check one case.

    Raises:
        DataError: with everything that is wrong with this case's files.
    """
    findings: list[Finding] = []
    image, label = None, None
    try:
        image = load_image(case.image, rules)
    except DataError as error:
        findings += error.findings
    try:
        label = load_label(case.label, rules) if case.label else None
    except DataError as error:
        findings += error.findings
    if image is not None and label is not None and case.label is not None:
        findings += _pair_findings(case.label, label, image, rules)
    if findings or image is None:
        raise DataError(findings)
    return _reading(case, rules, image, label)


def try_case(task: tuple[SourceCase, CaseRules]) -> Reading | DataError:
    """Return the reading of a case, or what is wrong with it (worker processes send both back)."""
    try:
        return read_case(*task)
    except DataError as error:
        return error


def _pair_findings(path: Path, label: LoadedLabel, image: LoadedImage, rules: CaseRules) -> list[Finding]:
    """Return what forbids to lay a label over its image."""
    grid = Grid.of(image.image)
    if label.grid.size_xyz != grid.size_xyz:
        found = f"has size {label.grid.size_xyz} but its image {grid.size_xyz} (x y z)"
        remedy = "They are of different scans or versions: get both again."
        return [Finding(file=path, finding=found, remedy=remedy)]
    if label.placed != image.placed:
        without, having = ("it", "its image") if image.placed else ("its image", "it")
        found = f"cannot be laid over its image: {having} says where its voxels lie, {without} does not"
        return [Finding(file=path, finding=found, remedy="Export image and label in the same format.")]
    if not label.placed:
        return []
    shift, allowed = shift_voxels(label.grid, grid), HARMLESS_SHIFT_VOXELS if "header noise" in rules.repairs else 0.0
    if not shift <= allowed:
        differences = ", ".join(label.grid.differences(grid)) or "less than the header's usual rounding"
        found = f"lies up to {shift:.2f} voxels beside its image by its header ({differences})"
        remedy = "They are of different scans or frames: get both again, or correct the header that is wrong."
        return [Finding(file=path, finding=found, remedy=remedy)]
    return []


def _reading(case: SourceCase, rules: CaseRules, image: LoadedImage, label: LoadedLabel | None) -> Reading:
    grid = Grid.of(image.image)
    crop = crop_background(image.image) if rules.crop else None
    changes = [*image.changes]
    if label is not None:
        changes += [*label.changes, *(_header_change(label.grid, grid) if label.placed else ())]
    if crop is not None and _cuts(crop):
        changes.append(_crop_change(crop))
    if rules.n4 is not None:
        changes.append(_N4_CHANGE)
    facts = _label_facts(case.label, rules, label, crop) if label and case.label else None
    kept = _kept(case.image, image, rules) and not _cuts(crop)
    return Reading(
        case=case,
        image=ImageFacts(
            file=rules.name_of(case.image),
            sha256=sha256_of(case.image),
            grid=grid,
            dtype=image.dtype,
            minimum=image.array.min().item(),
            maximum=image.array.max().item(),
            flat=image.flat,
        ),
        label=facts,
        crop=crop,
        image_kept=kept,
        changes=tuple(changes),
        remarks=(*_remarks(image, facts, rules), *_differs_from_told(case, facts)),
        expected_bytes=_expected_bytes(case.image, grid, crop, free=kept and rules.link and is_gzip(case.image)),
    )


_N4_CHANGE = Change(
    file="image",
    repair="n4",
    what="divided by its bias field, stored as float32 (the field: under written, image, n4)",
    why="--n4: the parameters are in dataset.json",
)


def _kept(path: Path, image: LoadedImage, rules: CaseRules) -> bool:
    """Tell whether the published bytes may stay as they are."""
    return not image.changes and rules.n4 is None and ending_of(path) in NIFTI_ENDINGS


def _label_facts(path: Path, rules: CaseRules, label: LoadedLabel, crop: Crop | None) -> LabelFacts:
    """Return what a label holds.

    Raises:
        DataError: it holds no structure of the scheme, or the crop would cut some of it off.
    """
    structures = _structures(label.ids, rules)
    if not structures and not rules.keep_empty:
        remedy = "Leave the case out, keep all such cases with --keep-empty, or choose another scheme."
        raise DataError.of(path, f"is empty: nothing of the scheme {rules.scheme.name!r} is labelled", remedy)
    if crop is not None:
        kept = _structures(voxels(crop.apply(crop.source.place(label.ids))), rules)
        lost = sum(structures.values()) - sum(kept.values())
        if lost:
            remedy = "Convert without --crop, or correct the mask if these voxels are stray."
            raise DataError.of(path, f"has {lost} labelled voxels in the background that --crop cuts off", remedy)
    return LabelFacts(
        file=rules.name_of(path),
        sha256=sha256_of(path),
        grid=label.grid,
        placed=label.placed,
        dtype=label.dtype,
        voxels_by_id=count_ids(label.published),
        structures=structures,
    )


def _structures(ids: Array, rules: CaseRules) -> dict[str, int]:
    """Return structure → voxels for those that occur."""
    counts = count_ids(ids)
    voxels_of = {name: sum(counts.get(i, 0) for i in source) for name, source in rules.scheme.structures}
    return {name: n for name, n in voxels_of.items() if n}


def _header_change(label: Grid, image: Grid) -> list[Change]:
    if label == image:
        return []
    what = f"the image's header instead of its own, which is off by at most {shift_voxels(label, image):.2g} voxels"
    why = "a label lies on its image's voxels; nnU-Net refuses different headers"
    return [Change(file="label", repair="header noise", what=what, why=why)]


def _cuts(crop: Crop | None) -> bool:
    return crop is not None and crop.size_xyz != crop.source.size_xyz


def _crop_change(crop: Crop) -> Change:
    what = f"cropped to {crop.size_xyz} voxels from voxel {crop.start_xyz} of {crop.source.size_xyz} (x y z)"
    why = "--crop: empty background left and right of the body"
    return Change(file="image and label", repair="crop", what=what, why=why)


def _remarks(image: LoadedImage, label: LabelFacts | None, rules: CaseRules) -> tuple[str, ...]:
    remarks = ["no structure is labelled"] if label is not None and not label.structures else []
    axis, grid = rules.cranio_caudal_axis_zyx, Grid.of(image.image)
    by_header = cranio_caudal_axis_zyx(grid)
    if image.placed and not image.flat and axis not in (None, by_header):
        remarks.append(
            f"by its header ({orientation(grid)}) array axis {by_header} (z y x) runs along the body, "
            f"in this dataset it is axis {axis}; left as it is"
        )
    return tuple(remarks)


def _differs_from_told(case: SourceCase, label: LabelFacts | None) -> tuple[str, ...]:
    """Return what a label holds more and less than another published file says."""
    if label is None or case.told_ids is None:
        return ()
    held, told = {i for i in label.voxels_by_id if i}, set(case.told_ids)
    more, less = ", ".join(map(str, sorted(held - told))), ", ".join(map(str, sorted(told - held)))
    return (
        *([f"the mask holds the ids {more}, which another file of the release does not name"] if more else []),
        *([f"another file of the release names the ids {less}, which the mask does not hold"] if less else []),
    )


def _expected_bytes(path: Path, grid: Grid, crop: Crop | None, *, free: bool) -> int:
    """Return about what image and label will take; `free`: the image takes nothing, being a link."""
    whole, kept = math.prod(grid.size_xyz), math.prod(crop.size_xyz if crop else grid.size_xyz)
    compressed = 0.0 if free else size_of(path) * (1 if path.is_file() and is_gzip(path) else _GZIP_LEAVES)
    return int(compressed * kept / whole + kept * _LABEL_GZIP_LEAVES)
