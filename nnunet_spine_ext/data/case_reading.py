"""Reads one case and checks all that can be wrong with it: the first pass of a conversion, which writes nothing.

Repaired, with a record: header noise between label and image. Refused: a label of another shape or from another place,
a label without any structure, a crop that would cut labelled voxels off. The rest is in `case_loading`.
"""

from __future__ import annotations

import math
from pathlib import Path

from nnunet_spine_ext.data.case_loading import LoadedImage, LoadedLabel, count_ids, load_image, load_label
from nnunet_spine_ext.data.cases import CaseRules, Change, ImageFacts, LabelFacts, Reading, SourceCase
from nnunet_spine_ext.data.cropping import Crop, crop_background
from nnunet_spine_ext.data.files import sha256_of
from nnunet_spine_ext.data.geometry import Array, Grid, voxels
from nnunet_spine_ext.data.headers import HARMLESS_SHIFT_VOXELS, cranio_caudal_axis_zyx, orientation, shift_voxels
from nnunet_spine_ext.data.integrity import is_gzip
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
        findings += _pair_findings(case.label, label.grid, Grid.of(image.image))
    if findings or image is None:
        raise DataError(findings)
    return _reading(case, rules, image, label)


def try_case(task: tuple[SourceCase, CaseRules]) -> Reading | DataError:
    """Return the reading of a case, or what is wrong with it (worker processes send both back)."""
    try:
        return read_case(*task)
    except DataError as error:
        return error


def _pair_findings(path: Path, label: Grid, image: Grid) -> list[Finding]:
    """Return what forbids to lay a label over its image."""
    if label.size_xyz != image.size_xyz:
        found = f"has size {label.size_xyz} but its image {image.size_xyz} (x y z)"
        remedy = "They are of different scans or versions: get both again."
        return [Finding(file=path, finding=found, remedy=remedy)]
    shift = shift_voxels(label, image)
    if not shift <= HARMLESS_SHIFT_VOXELS:
        found = f"lies up to {shift:.2f} voxels beside its image by its header ({', '.join(label.differences(image))})"
        remedy = "They are of different scans or frames: get both again, or correct the header that is wrong."
        return [Finding(file=path, finding=found, remedy=remedy)]
    return []


def _reading(case: SourceCase, rules: CaseRules, image: LoadedImage, label: LoadedLabel | None) -> Reading:
    grid = Grid.of(image.image)
    crop = crop_background(image.image) if rules.crop else None
    changes = [*image.changes]
    if label is not None:
        changes += [*label.changes, *_header_change(label.grid, grid)]
    if crop is not None and _cuts(crop):
        changes.append(_crop_change(crop))
    return Reading(
        case=case,
        image=ImageFacts(
            file=case.image.relative_to(rules.source),
            sha256=sha256_of(case.image),
            grid=grid,
            dtype=image.dtype,
            minimum=image.array.min().item(),
            maximum=image.array.max().item(),
        ),
        label=_label_facts(case.label, rules, label, crop) if label and case.label else None,
        crop=crop,
        image_kept=not image.changes and not _cuts(crop) and case.image.name.lower().endswith((".nii", ".nii.gz")),
        changes=tuple(changes),
        remarks=_remarks(grid, rules),
        expected_bytes=_expected_bytes(case.image, grid, crop),
    )


def _label_facts(path: Path, rules: CaseRules, label: LoadedLabel, crop: Crop | None) -> LabelFacts:
    """Return what a label holds.

    Raises:
        DataError: it holds no structure of the scheme, or the crop would cut some of it off.
    """
    structures = _structures(label.ids, rules)
    if not structures:
        remedy = "Leave the case out, or choose another scheme with --labels."
        raise DataError.of(path, f"is empty: nothing of the scheme {rules.scheme.name!r} is labelled", remedy)
    if crop is not None:
        kept = _structures(voxels(crop.apply(crop.source.place(label.ids))), rules)
        lost = sum(structures.values()) - sum(kept.values())
        if lost:
            remedy = "Convert without --crop, or correct the mask if these voxels are stray."
            raise DataError.of(path, f"has {lost} labelled voxels in the background that --crop cuts off", remedy)
    return LabelFacts(
        file=path.relative_to(rules.source),
        sha256=sha256_of(path),
        dtype=label.dtype,
        voxels_by_id=count_ids(label.ids),
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
    return [Change(file="label", what=what, why=why)]


def _cuts(crop: Crop | None) -> bool:
    return crop is not None and crop.size_xyz != crop.source.size_xyz


def _crop_change(crop: Crop) -> Change:
    what = f"cropped to {crop.size_xyz} voxels from voxel {crop.start_xyz} of {crop.source.size_xyz} (x y z)"
    return Change(file="image and label", what=what, why="--crop: empty background left and right of the body")


def _remarks(grid: Grid, rules: CaseRules) -> tuple[str, ...]:
    by_header = cranio_caudal_axis_zyx(grid)
    if by_header == rules.cranio_caudal_axis_zyx:
        return ()
    axis = rules.cranio_caudal_axis_zyx
    return (
        f"by its header ({orientation(grid)}) array axis {by_header} (z y x) runs along the body, "
        f"in this dataset it is axis {axis}; left as it is",
    )


def _expected_bytes(path: Path, grid: Grid, crop: Crop | None) -> int:
    whole, kept = math.prod(grid.size_xyz), math.prod(crop.size_xyz if crop else grid.size_xyz)
    compressed = path.stat().st_size * (1 if is_gzip(path) else _GZIP_LEAVES)
    return int(compressed * kept / whole + kept * _LABEL_GZIP_LEAVES)
