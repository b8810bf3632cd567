"""Metrics slice by slice, as 2D papers report them: only slices with enough reference are kept, then averaged.

Paper 001 (Res50_UNet) measures slices with more than 1500 reference pixels at 256 x 256. Images are never resized here:
the number of pixels is scaled by the area of a slice (1500 pixels of 256 x 256 are 2129.2 of 305 x 305).
"""

from __future__ import annotations

import numpy as np

from nnunet_spine_ext.data.geometry import Array
from nnunet_spine_ext.evaluation.metrics import NAN, SLICE_METRICS, SLICES_KEPT
from nnunet_spine_ext.evaluation.overlap import matrix_of, overlap_rows
from nnunet_spine_ext.evaluation.rows import Row
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES, Structures

REFERENCE_SIDE = 256
"""The number of pixels is meant for slices of 256 x 256."""
_PREFIX = "slice_"


def slice_rows(
    reference: Array, prediction: Array, structures: Structures, *, spacing_zyx_mm: tuple[float, ...], above: int
) -> list[Row]:
    """Return the mean over the kept slices of every slice metric, and how many slices were kept.

    Slices lie across the axis with the largest voxels (the first of them, if equal), as in nnU-Net's 2d configuration.
    A slice is kept if more of its reference belongs to any structure than `above` pixels per 256 x 256. Means leave
    out slices in which a metric has no value; if none has one, or no slice is kept, the mean is NaN.

    Args:
        reference: ids known to `structures`, three axes.
        prediction: the same, of the same shape.
        structures: what to measure.
        spacing_zyx_mm: size of a voxel along each axis.
        above: reference pixels of a slice of 256 x 256 that are not yet enough.
    """
    across = int(np.argmax(spacing_zyx_mm))
    truth, predicted = np.moveaxis(reference, across, 0), np.moveaxis(prediction, across, 0)
    kept = _kept(truth, structures, above=above)
    values: dict[tuple[str, str], list[float]] = {}
    for index in kept:
        matrix = matrix_of(truth[index], predicted[index], structures)
        for label, metric, value in overlap_rows(matrix, structures, voxel_ml=NAN):
            values.setdefault((label, _PREFIX + metric), []).append(value)
    labels = [structure.name for structure in (*structures.each, structures.union)]
    rows = [(label, m.key, _mean(values.get((label, m.key), []))) for label in labels for m in SLICE_METRICS]
    return [*rows, (ALL_STRUCTURES, SLICES_KEPT.key, float(len(kept)))]


def _kept(slices: Array, structures: Structures, *, above: int) -> list[int]:
    pixels = np.isin(slices, structures.union.ids).sum(axis=(1, 2))
    height, width = slices.shape[1:]
    return [int(i) for i in np.flatnonzero(pixels * REFERENCE_SIDE**2 > above * height * width)]


def _mean(values: list[float]) -> float:
    there = [value for value in values if not np.isnan(value)]
    return float(np.mean(there)) if there else NAN
