"""Measure one case: two files in, rows of metrics out. Runs in worker processes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from nnunet_spine_ext.data.geometry import Array, Grid, read_image, voxels
from nnunet_spine_ext.errors import DataError, Finding
from nnunet_spine_ext.evaluation.overlap import Row, overlap_rows, unknown_values
from nnunet_spine_ext.evaluation.pairs import Pair
from nnunet_spine_ext.evaluation.placing import on_common_grid
from nnunet_spine_ext.evaluation.slices import slice_rows
from nnunet_spine_ext.evaluation.structures import Structures

_SHOWN_VALUES = 5


def measure(pair: Pair, structures: Structures, *, slices_above: int | None = None) -> list[Row]:
    """Return the rows of one case; those of its slices too, if `slices_above` says which (`slice_rows`).

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
    spacing = grids[0].spacing_zyx_mm
    rows = overlap_rows(reference, prediction, structures, voxel_ml=math.prod(spacing) / 1000)
    if slices_above is not None:
        rows += slice_rows(reference, prediction, structures, spacing_zyx_mm=spacing, above=slices_above)
    return rows


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
