"""HD95, ASSD and NSD of every structure, for both definitions of a surface (`surfaces.py`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nnunet_spine_ext.evaluation.boxes import Masks
from nnunet_spine_ext.evaluation.metrics import FIXED_DISTANCE_METRICS, nsd_metrics
from nnunet_spine_ext.evaluation.rows import Row
from nnunet_spine_ext.evaluation.surfaces import SURFACES, Numbers, Surface, Surfaces

SLACK_MM = 1e-6
"""A distance may exceed the tolerance by so much: float32 headers are off in the eighth digit."""
_FAR = 95.0


def hd95_by_area(surfaces: Surfaces) -> float:
    """Return the larger of the distances below which 95 % of each surface's area lies, in mm (surface-distance)."""
    return max(_percentile_by_weight(surface) for surface in surfaces)


def hd95_by_count(surfaces: Surfaces) -> float:
    """Return the larger of the two surfaces' 95th percentiles, interpolated between elements, in mm (MONAI)."""
    return max(float(np.percentile(surface.distances_mm, _FAR)) for surface in surfaces)


def assd(surfaces: Surfaces) -> float:
    """Return the weighted mean of the distances of both surfaces' elements, in mm."""
    distances, weights = _together(surfaces)
    return float(np.average(distances, weights=weights))


def nsd(surfaces: Surfaces, tolerance_mm: float) -> float:
    """Return the weighted share of both surfaces' elements that are within the tolerance of the other, in [0, 1]."""
    distances, weights = _together(surfaces)
    return float(weights[distances <= tolerance_mm + SLACK_MM].sum() / weights.sum())


_HD95: dict[str, Callable[[Surfaces], float]] = {"surfel": hd95_by_area, "voxel": hd95_by_count}


def distance_rows(masks: Masks, *, spacing_zyx_mm: tuple[float, ...], tolerance_mm: float) -> list[Row]:
    """Return the distance metrics of one structure, in the order of the table.

    Args:
        masks: both sides of the structure.
        spacing_zyx_mm: size of a voxel along each axis.
        tolerance_mm: how far apart surfaces may be and still agree, for the NSD.
    """
    values = _values(masks, spacing_zyx_mm, tolerance_mm)
    return [
        (
            masks.structure.name,
            metric.key,
            metric.value(
                lambda key=metric.key: values[key],  # type: ignore[misc]
                in_reference=masks.reference is not None,
                in_prediction=masks.prediction is not None,
            ),
        )
        for metric in (*FIXED_DISTANCE_METRICS, *nsd_metrics(tolerance_mm))
    ]


def _values(masks: Masks, spacing_zyx_mm: tuple[float, ...], tolerance_mm: float) -> dict[str, float]:
    """Return metric key → value; nothing if a side is empty, for then there is nothing between which to measure."""
    if masks.reference is None or masks.prediction is None:
        return {}
    values = {}
    for kind, between in SURFACES.items():
        surfaces = between(masks.reference, masks.prediction, spacing_zyx_mm)
        values[f"hd95_{kind}_mm"] = _HD95[kind](surfaces)
        values[f"assd_{kind}_mm"] = assd(surfaces)
        values[f"nsd_{kind}_{tolerance_mm:g}mm"] = nsd(surfaces, tolerance_mm)
    return values


def _together(surfaces: Surfaces) -> tuple[Numbers, Numbers]:
    return (
        np.concatenate([surface.distances_mm for surface in surfaces]),
        np.concatenate([surface.weights for surface in surfaces]),
    )


def _percentile_by_weight(surface: Surface) -> float:
    """Return the distance of the first element, from the nearest to the farthest, with which 95 % is reached."""
    order = np.lexsort((surface.weights, surface.distances_mm))
    areas = surface.weights[order]
    position = int(np.searchsorted(np.cumsum(areas) / np.sum(areas), _FAR / 100))
    return float(surface.distances_mm[order[min(position, order.size - 1)]])
