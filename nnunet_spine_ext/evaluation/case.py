"""Measure one case: two files in, rows of metrics out. Runs in worker processes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from nnunet_spine_ext.data.geometry import Array, Grid, read_image, voxels
from nnunet_spine_ext.errors import DataError, Finding
from nnunet_spine_ext.evaluation.boxes import masks_of
from nnunet_spine_ext.evaluation.confusion import confusion_rows
from nnunet_spine_ext.evaluation.distances import distance_rows
from nnunet_spine_ext.evaluation.options import Options
from nnunet_spine_ext.evaluation.overlap import matrix_of, overlap_rows, unknown_values
from nnunet_spine_ext.evaluation.pairs import Pair
from nnunet_spine_ext.evaluation.placing import on_common_grid
from nnunet_spine_ext.evaluation.rows import Measured
from nnunet_spine_ext.evaluation.slices import slice_rows
from nnunet_spine_ext.evaluation.structures import Structures
from nnunet_spine_ext.evaluation.vertebrae import centroids_of, level_rows

_SHOWN_VALUES = 5


def measure(pair: Pair, structures: Structures, options: Options) -> Measured:
    """Return the rows of one case.

    Raises:
        DataError: a file cannot be read, or holds a value that is no id of `structures`; both files are looked at.
    """
    labels: list[Array] = []
    grids: list[Grid] = []
    findings: list[Finding] = []
    for file in (pair.reference, pair.prediction):
        try:
            image = read_image(file)
        except DataError as error:
            findings += error.findings
            continue
        labels.append(voxels(image))
        grids.append(Grid.of(image))
        findings += _check_ids(file, labels[-1], structures)
    if findings:
        raise DataError(findings)
    reference, prediction = on_common_grid(labels[0], grids[0], labels[1], grids[1])
    return compare(reference, prediction, structures, options, spacing_zyx_mm=grids[0].spacing_zyx_mm)


def compare(
    reference: Array, prediction: Array, structures: Structures, options: Options, *, spacing_zyx_mm: tuple[float, ...]
) -> Measured:
    """Return everything that is measured between two label maps.

    Args:
        reference: ids known to `structures`, axes z y x.
        prediction: the same, of the same shape.
        structures: what to measure.
        options: what else to measure.
        spacing_zyx_mm: size of a voxel along each axis.
    """
    matrix = matrix_of(reference, prediction, structures)
    rows = overlap_rows(matrix, structures, voxel_ml=math.prod(spacing_zyx_mm) / 1000)
    masks = list(masks_of(reference, prediction, structures))
    rows += level_rows(matrix, centroids_of(masks, spacing_zyx_mm), structures)
    if options.distances:
        for one in masks:
            rows += distance_rows(one, spacing_zyx_mm=spacing_zyx_mm, tolerance_mm=options.tolerance_mm)
    if options.slices_above is not None:
        above = options.slices_above
        rows += slice_rows(reference, prediction, structures, spacing_zyx_mm=spacing_zyx_mm, above=above)
    return Measured(rows=rows, confusion=confusion_rows(matrix, structures))


def _check_ids(file: Path, labels: Array, structures: Structures) -> Iterator[Finding]:
    unknown = unknown_values(labels, structures.known_ids)
    if unknown:
        shown = ", ".join(f"{value:g}" for value in unknown[:_SHOWN_VALUES])
        more = f" and {len(unknown) - _SHOWN_VALUES} more" if len(unknown) > _SHOWN_VALUES else ""
        yield Finding(
            file=file,
            finding=f"holds {shown}{more}, which the label table does not name",
            remedy="Check that the file is a label map of this dataset.",
        )
