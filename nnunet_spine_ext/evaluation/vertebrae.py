"""Metrics by level of the spine: is every vertebra and disc found, and under its own name.

A label-shift error, the right shape under a neighbour's name, is the classic failure on spines: Dice calls it a miss,
this module says that it is a shift, and by how many levels.

K ids; the confusion matrix is (K, K) with rows for the reference's ids and columns for the prediction's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_spine_ext.evaluation.boxes import Mask, Masks
from nnunet_spine_ext.evaluation.levels import Chain, chains
from nnunet_spine_ext.evaluation.metrics import LEVEL_CASE_METRICS, LEVEL_METRICS, NAN
from nnunet_spine_ext.evaluation.rows import Row
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES, Structure, Structures

NEAR_MM = 20.0
"""A structure farther from its reference is not identified (Sekuboyina et al., MedIA 2021, the VerSe challenge)."""
SAME_SHAPE_IOU = 0.5
"""Above it, no two structures can match the same one (Kirillov et al., CVPR 2019, panoptic quality)."""

Point = NDArray[np.float64]
"""(3,) z y x in mm"""


@dataclass(frozen=True, kw_only=True)
class Centroids:
    """Structure name → centroid in mm, of the structures that are there."""

    reference: Mapping[str, Point]
    prediction: Mapping[str, Point]


def centroids_of(masks: Iterable[Masks], spacing_zyx_mm: tuple[float, ...]) -> Centroids:
    """Return the centroids of all structures on both sides; distances between them are those in the scanner's space."""
    reference: dict[str, Point] = {}
    prediction: dict[str, Point] = {}
    for one in masks:
        for mask, points in ((one.reference, reference), (one.prediction, prediction)):
            if mask is not None:
                inside = np.array([_mean_index(mask, axis) for axis in range(mask.ndim)])
                points[one.structure.name] = (inside + one.start) * np.asarray(spacing_zyx_mm)
    return Centroids(reference=reference, prediction=prediction)


def level_rows(matrix: NDArray[np.int64], centroids: Centroids, structures: Structures) -> list[Row]:
    """Return the metrics by level of every vertebra and disc, then those of the case; nothing if no name is a level.

    Args:
        matrix: (K, K) confusion matrix of the case, without the ignore id.
        centroids: of the same case.
        structures: the label table.
    """
    lines = chains(structures)
    values = {name: pair for line in lines for name, pair in _of_chain(line, matrix, centroids)}
    rows = [
        (structure.name, metric.key, value)
        for structure in structures.each
        if structure.name in values
        for metric, value in zip(LEVEL_METRICS, values[structure.name], strict=True)
    ]
    return [*rows, *_case_rows([values[name] for name in values if name in centroids.reference])] if lines else []


def _of_chain(
    line: Chain, matrix: NDArray[np.int64], centroids: Centroids
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield each structure's name with its identification and its label shift."""
    present = [s for s in line.structures if s.name in centroids.reference or s.name in centroids.prediction]
    iou = _iou(present, matrix)
    for structure in line.structures:
        name = structure.name
        formulas = (
            lambda name=name: _identified(name, line, centroids),
            lambda place=structure: _shift(iou[present.index(place)], present.index(place)),
        )
        there = {"in_reference": name in centroids.reference, "in_prediction": name in centroids.prediction}
        identified, shift = (m.value(f, **there) for m, f in zip(LEVEL_METRICS, formulas, strict=True))
        yield name, (identified, shift)


def _identified(name: str, line: Chain, centroids: Centroids) -> float:
    """Return 1 if the prediction of this name is the nearest of its kind to the reference, and near enough."""
    apart_mm = {
        s.name: float(np.linalg.norm(centroids.prediction[s.name] - centroids.reference[name]))
        for s in line.structures
        if s.name in centroids.prediction
    }
    return float(apart_mm[name] == min(apart_mm.values()) and apart_mm[name] < NEAR_MM)


def _shift(iou: NDArray[np.float64], place: int) -> float:
    """Return by how many levels the structure of this shape is named too far towards the head; NaN if there is none."""
    best = int(np.argmax(iou))
    return float(place - best) if iou[best] > SAME_SHAPE_IOU else NAN


def _iou(structures: Sequence[Structure], matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the IoU of every structure in the reference (rows) with every one in the prediction (columns)."""
    member = np.zeros((len(structures), len(matrix)), dtype=np.int64)
    for row, structure in zip(member, structures, strict=True):
        row[list(structure.ids)] = 1
    shared = member @ matrix @ member.T
    sizes = (member @ matrix).sum(axis=1), (matrix @ member.T).sum(axis=0)
    union = sizes[0][:, None] + sizes[1][None, :] - shared
    iou: NDArray[np.float64] = shared / np.maximum(union, 1)
    return iou


def _case_rows(values: Sequence[tuple[float, float]]) -> list[Row]:
    """Return what is counted over the structures of the reference; NaN if it has none."""
    shifts = [shift for _, shift in values if not np.isnan(shift)]
    wrong = Counter(shift for shift in shifts if shift)
    # The commonest; of several the least, and of those the one towards the head: the same every time.
    common = min(wrong, key=lambda shift: (-wrong[shift], abs(shift), -shift), default=0.0)
    rate = float(np.mean([identified for identified, _ in values])) if values else NAN
    found = (rate, float(wrong.total()) if values else NAN, common if shifts else NAN)
    return [(ALL_STRUCTURES, metric.key, value) for metric, value in zip(LEVEL_CASE_METRICS, found, strict=True)]


def _mean_index(mask: Mask, axis: int) -> float:
    others = tuple(a for a in range(mask.ndim) if a != axis)
    counts = np.count_nonzero(mask, axis=others)
    return float(counts @ np.arange(counts.size) / counts.sum())
