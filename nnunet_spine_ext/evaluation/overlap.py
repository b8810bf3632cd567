"""Overlap of two label maps: one confusion matrix per case, from which every metric of every structure derives.

K ids; matrices are (K, K) with rows for the reference's ids and columns for the prediction's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_spine_ext.data.geometry import Array
from nnunet_spine_ext.evaluation.metrics import CASE_METRICS, NAN, OVERLAP_METRICS
from nnunet_spine_ext.evaluation.rows import Row
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES, Structure, Structures

_CHUNK_VOXELS = 1 << 20
_USUAL_IDS = 1024


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How many voxels of one structure agree, and how large a voxel is."""

    tp: int
    fp: int
    fn: int
    tn: int
    voxel_ml: float

    @property
    def voxels(self) -> int:
        """All voxels of the image that count."""
        return self.tp + self.fp + self.fn + self.tn


def dice(overlap: Overlap) -> float:
    """2 TP / (2 TP + FP + FN), in [0, 1]; NaN if neither side has a voxel."""
    return _ratio(2 * overlap.tp, 2 * overlap.tp + overlap.fp + overlap.fn)


def iou(overlap: Overlap) -> float:
    """TP / (TP + FP + FN), in [0, 1]; NaN if neither side has a voxel."""
    return _ratio(overlap.tp, overlap.tp + overlap.fp + overlap.fn)


def sensitivity(overlap: Overlap) -> float:
    """TP / (TP + FN), in [0, 1]; NaN if the reference has no voxel."""
    return _ratio(overlap.tp, overlap.tp + overlap.fn)


def ppv(overlap: Overlap) -> float:
    """TP / (TP + FP), in [0, 1]; NaN if the prediction has no voxel."""
    return _ratio(overlap.tp, overlap.tp + overlap.fp)


def specificity(overlap: Overlap) -> float:
    """TN / (TN + FP), in [0, 1]; NaN if the reference fills the image."""
    return _ratio(overlap.tn, overlap.tn + overlap.fp)


def accuracy(overlap: Overlap) -> float:
    """(TP + TN) / all voxels, in [0, 1]."""
    return _ratio(overlap.tp + overlap.tn, overlap.voxels)


def fnr(overlap: Overlap) -> float:
    """FN / (FN + TP), in [0, 1]; NaN if the reference has no voxel (paper 003, equation 4)."""
    return _ratio(overlap.fn, overlap.fn + overlap.tp)


def fpr(overlap: Overlap) -> float:
    """FP / (FP + TN), in [0, 1]; NaN if the reference fills the image (paper 003, equation 5)."""
    return _ratio(overlap.fp, overlap.fp + overlap.tn)


def mse(overlap: Overlap) -> float:
    """Mean over voxels of (reference - prediction)² for masks of 0 and 1, in [0, 1] (paper 001)."""
    return _ratio(overlap.fp + overlap.fn, overlap.voxels)


def volume_difference_ml(overlap: Overlap) -> float:
    """Volume of the prediction minus volume of the reference, in ml."""
    return (overlap.fp - overlap.fn) * overlap.voxel_ml


def reference_voxels(overlap: Overlap) -> float:
    """Size of the reference in voxels."""
    return float(overlap.tp + overlap.fn)


def prediction_voxels(overlap: Overlap) -> float:
    """Size of the prediction in voxels."""
    return float(overlap.tp + overlap.fp)


FORMULAS: dict[str, Callable[[Overlap], float]] = {
    formula.__name__: formula
    for formula in (
        dice,
        iou,
        sensitivity,
        ppv,
        specificity,
        accuracy,
        fnr,
        fpr,
        mse,
        volume_difference_ml,
        reference_voxels,
        prediction_voxels,
    )
}
"""Metric key → its formula; one for each of `OVERLAP_METRICS`."""


def unknown_values(labels: Array, known_ids: frozenset[int]) -> list[float]:
    """Return the values in `labels` (any shape, any real dtype) that are no known id, sorted; NaN comes last."""
    counts = np.zeros(_USUAL_IDS, dtype=np.int64)
    if labels.dtype.kind in "ui" and labels.size and labels.min() >= 0 and labels.max() < _USUAL_IDS:
        for chunk in _chunks(labels):  # ten times faster than sorting
            counts += np.bincount(chunk, minlength=_USUAL_IDS)
        present = np.flatnonzero(counts)
    else:
        present = np.unique(labels)
    return [float(value) for value in present if value not in known_ids]


def confusion_matrix(reference: Array, prediction: Array, *, side: int) -> NDArray[np.int64]:
    """Return the (side, side) matrix of voxel counts: rows are the reference's ids, columns the prediction's.

    Args:
        reference: ids in 0 … side - 1, any shape and any dtype that holds them exactly.
        prediction: the same, of the same shape.
        side: one more than the highest id.

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference has shape {reference.shape}, prediction {prediction.shape}")
    matrix = np.zeros(side * side, dtype=np.int64)
    # In pieces, because bincount turns its input into 8-byte integers.
    for rows, columns in zip(_chunks(reference), _chunks(prediction), strict=True):
        matrix += np.bincount(rows * side + columns, minlength=side * side)
    return matrix.reshape(side, side)


def overlap_of(matrix: NDArray[np.int64], structure: Structure, *, voxel_ml: float) -> Overlap:
    """Return the counts of one structure (its ids against all other rows and columns of `matrix`)."""
    inside = np.zeros(len(matrix), dtype=bool)
    inside[list(structure.ids)] = True
    reference, prediction = matrix[inside], matrix[:, inside]
    tp = int(reference[:, inside].sum())
    fn, fp = int(reference.sum()) - tp, int(prediction.sum()) - tp
    return Overlap(tp=tp, fp=fp, fn=fn, tn=int(matrix.sum()) - tp - fn - fp, voxel_ml=voxel_ml)


def matrix_of(reference: Array, prediction: Array, structures: Structures) -> NDArray[np.int64]:
    """Return the confusion matrix over all known ids; voxels with the ignore id in the reference count nowhere.

    Args:
        reference: ids known to `structures`, any shape.
        prediction: the same, of the same shape.
        structures: the label table.
    """
    matrix = confusion_matrix(reference, prediction, side=max(structures.known_ids) + 1)
    if structures.ignore_id is not None:
        matrix[structures.ignore_id] = 0
    return matrix


def overlap_rows(matrix: NDArray[np.int64], structures: Structures, *, voxel_ml: float) -> list[Row]:
    """Return every overlap metric of every structure, of their union, and the case's challenge score.

    Args:
        matrix: as `matrix_of` gives it.
        structures: what to measure.
        voxel_ml: volume of one voxel in ml.
    """
    rows = []
    for structure in (*structures.each, structures.union):
        overlap = overlap_of(matrix, structure, voxel_ml=voxel_ml)
        rows += [(structure.name, key, value) for key, value in _values(overlap).items()]
    each = [value for label, key, value in rows if key == "dice" and label != structures.union.name]
    return [*rows, (ALL_STRUCTURES, CASE_METRICS[0].key, challenge_dice(each))]


def challenge_dice(dice_of_structures: list[float]) -> float:
    """Return the MRSpineSeg challenge's score of one case from the Dice of its structures (NaN = on neither side).

    The challenge's own code adds 1e-10 to Dice's denominator; that is left out here, so that a perfect case scores 1.
    """
    present = [value for value in dice_of_structures if not np.isnan(value)]
    return sum(present) / len(present) if present else NAN


def _values(overlap: Overlap) -> dict[str, float]:
    in_reference, in_prediction = overlap.tp + overlap.fn > 0, overlap.tp + overlap.fp > 0
    return {
        metric.key: metric.value(
            lambda key=metric.key: FORMULAS[key](overlap),  # type: ignore[misc]
            in_reference=in_reference,
            in_prediction=in_prediction,
        )
        for metric in OVERLAP_METRICS
    }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else NAN


def _chunks(array: Array) -> Iterator[NDArray[np.intp]]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK_VOXELS):
        yield flat[start : start + _CHUNK_VOXELS].astype(np.intp)
