"""Surface distances against hand-worked cases, all pairs of elements, surface-distance on whole volumes, and MONAI."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_spine_ext.evaluation.boxes import masks_of
from nnunet_spine_ext.evaluation.distances import distance_rows
from nnunet_spine_ext.evaluation.metrics import FIXED_DISTANCE_METRICS, METRICS, known_metrics, nsd_metrics
from nnunet_spine_ext.evaluation.structures import Structures

NAN = math.nan
ONE = Structures.of({"background": 0, "a": 1})
SPACING = (4.4, 0.5, 0.75)
KEYS = [metric.key for metric in (*FIXED_DISTANCE_METRICS, *nsd_metrics(1.0))]

Labels = NDArray[np.generic]
Mask = NDArray[np.bool_]


def measured(
    reference: Labels,
    prediction: Labels,
    structures: Structures = ONE,
    *,
    spacing: tuple[float, ...] = SPACING,
    tolerance: float = 1.0,
    name: str = "a",
) -> dict[str, float]:
    rows = [
        row
        for masks in masks_of(reference, prediction, structures)
        for row in distance_rows(masks, spacing_zyx_mm=spacing, tolerance_mm=tolerance)
    ]
    return {metric: value for label, metric, value in rows if label == name}


def blob(seed: int, shape: tuple[int, ...] = (6, 14, 12)) -> NDArray[np.uint8]:
    """Return a ragged lump off the middle of an array, with a few specks."""
    rng = np.random.default_rng(seed)
    centre = [rng.uniform(0.35, 0.6) * n for n in shape]
    radius = [rng.uniform(0.2, 0.35) * n for n in shape]
    grid = np.indices(shape).reshape(3, -1).T
    inside = (((grid - centre) / radius) ** 2).sum(axis=1) < rng.uniform(0.7, 1.3, grid.shape[0])
    return (inside | (rng.random(grid.shape[0]) < 0.005)).reshape(shape).astype(np.uint8)


# --- by hand ------------------------------------------------------------------------------------------------------


def test_hand_worked_voxels() -> None:
    # One row of voxels 2 mm long: all are edges. Reference 2..5, prediction 4..7.
    reference, prediction = np.zeros((1, 1, 10), np.uint8), np.zeros((1, 1, 10), np.uint8)
    reference[0, 0, 2:6] = 1
    prediction[0, 0, 4:8] = 1
    found = measured(reference, prediction, spacing=(5.0, 3.0, 2.0), tolerance=2.0)
    # Reference to prediction: 4, 2, 0, 0 mm; back: 0, 0, 2, 4 mm. 95th percentile of 0, 0, 2, 4: 2 + 0.85 * 2.
    assert found["hd95_voxel_mm"] == pytest.approx(3.7, abs=1e-12)
    assert found["assd_voxel_mm"] == pytest.approx(12 / 8, abs=1e-12)
    assert found["nsd_voxel_2mm"] == 6 / 8


def test_hand_worked_voxels_with_anisotropic_spacing() -> None:
    reference, prediction = np.zeros((4, 5, 5), np.uint8), np.zeros((4, 5, 5), np.uint8)
    reference[1, 1, 1] = 1
    prediction[2, 4, 1] = 1  # one slice and three rows away
    found = measured(reference, prediction, spacing=(4.0, 1.0, 0.5))
    assert found["hd95_voxel_mm"] == found["assd_voxel_mm"] == pytest.approx(5.0, abs=1e-12)
    assert found["nsd_voxel_1mm"] == 0.0


def test_hand_worked_surfels() -> None:
    # The corners around a single voxel, and around the voxel three columns (of 1.5 mm) further.
    reference, prediction = np.zeros((3, 3, 7), np.uint8), np.zeros((3, 3, 7), np.uint8)
    reference[1, 1, 1] = 1
    prediction[1, 1, 4] = 1
    found = measured(reference, prediction, spacing=(4.0, 1.0, 1.5), tolerance=3.0)
    # Two columns of four corners each: 4.5 and 3 mm from the nearest column of the other; all corners are alike.
    assert found["hd95_surfel_mm"] == pytest.approx(4.5, abs=1e-12)
    assert found["assd_surfel_mm"] == pytest.approx((4.5 + 3.0) / 2, abs=1e-12)
    assert found["nsd_surfel_3mm"] == pytest.approx(0.5, abs=1e-12)


def test_equal_masks_are_at_no_distance() -> None:
    found = measured(blob(0), blob(0))
    assert {key: found[key] for key in KEYS} == {key: float(key.startswith("nsd")) for key in KEYS}


def test_the_two_definitions_differ_on_thick_slices() -> None:
    reference = np.zeros((5, 40, 40), np.uint8)
    reference[1:4, 10:30, 10:30] = 1
    prediction = reference.copy()
    prediction[1:4, 10:22, 26:30] = 0
    found = measured(reference, prediction, spacing=(4.4, 0.34, 0.34))
    # A voxel's side wall is 13 times as large as its top, so by area more than 5 % is 4 voxels off, by count less.
    assert found["hd95_surfel_mm"] == pytest.approx(4 * 0.34)
    assert found["hd95_voxel_mm"] == pytest.approx(3 * 0.34)


# --- missing sides ------------------------------------------------------------------------------------------------

MISSING = {
    # missing in the reference only, in the prediction only, in both
    "hd95_surfel_mm": (NAN, NAN, NAN),
    "hd95_voxel_mm": (NAN, NAN, NAN),
    "assd_surfel_mm": (NAN, NAN, NAN),
    "assd_voxel_mm": (NAN, NAN, NAN),
    "nsd_surfel_1mm": (0.0, 0.0, NAN),
    "nsd_voxel_1mm": (0.0, 0.0, NAN),
}


def test_missing_label_table_covers_every_distance() -> None:
    assert list(MISSING) == KEYS


@pytest.mark.parametrize("metric", MISSING)
def test_missing_label_cell_by_cell(metric: str) -> None:
    nothing, something = np.zeros((3, 4, 5), np.uint8), blob(1)[2:5, 6:10, 4:9]
    assert something.any()
    pairs = (nothing, something), (something, nothing), (nothing, nothing)
    found = tuple(measured(*pair)[metric] for pair in pairs)
    assert np.array_equal(found, MISSING[metric], equal_nan=True), found


# --- against all pairs of elements --------------------------------------------------------------------------------


def edge_points(mask: Mask) -> list[tuple[int, ...]]:
    """Return the voxels with a neighbour across a face that is not in the mask, or not in the image."""
    found = []
    for point in map(tuple, np.argwhere(mask)):
        for axis, step in itertools.product(range(3), (-1, 1)):
            other = list(point)
            other[axis] += step
            outside = not 0 <= other[axis] < mask.shape[axis]
            if outside or not mask[tuple(other)]:
                found.append(point)
                break
    return found


def all_pairs(start: list[tuple[int, ...]], target: list[tuple[int, ...]], spacing: tuple[float, ...]) -> list[float]:
    return [
        min(math.sqrt(sum(((a - b) * s) ** 2 for a, b, s in zip(p, q, spacing, strict=True))) for q in target)
        for p in start
    ]


@pytest.mark.parametrize("seed", range(4))
def test_voxel_distances_equal_those_of_all_pairs(seed: int) -> None:
    reference, prediction = blob(seed), blob(seed + 50)
    ends = edge_points(reference == 1), edge_points(prediction == 1)
    there, back = all_pairs(*ends, SPACING), all_pairs(ends[1], ends[0], SPACING)
    found = measured(reference, prediction, tolerance=1.2)
    assert found["hd95_voxel_mm"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-9)
    assert found["assd_voxel_mm"] == pytest.approx(np.mean([*there, *back]), abs=1e-9)
    assert found["nsd_voxel_1.2mm"] == pytest.approx(np.mean([d <= 1.2 for d in (*there, *back)]), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.98), st.sampled_from([(4.4, 0.34, 0.34), (1.0, 1.0, 1.0)]))
def test_noise_of_any_density_equals_all_pairs(seed: int, density: float, spacing: tuple[float, ...]) -> None:
    rng = np.random.default_rng(seed)
    reference, prediction = (rng.random((2, 3, 4, 5)) < density).astype(np.uint8)
    if reference.any() and prediction.any():
        ends = edge_points(reference == 1), edge_points(prediction == 1)
        both = [*all_pairs(*ends, spacing), *all_pairs(ends[1], ends[0], spacing)]
        found = measured(reference, prediction, spacing=spacing)
        assert found["assd_voxel_mm"] == pytest.approx(np.mean(both), abs=1e-9)
        assert found["nsd_voxel_1mm"] == pytest.approx(np.mean([d <= 1 for d in both]), abs=1e-9)


# --- against other libraries, on the whole volume -----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_surfel_distances_equal_surface_distance_on_the_whole_volume(seed: int) -> None:
    package = pytest.importorskip("surface_distance")
    reference, prediction = blob(seed, (9, 30, 26)), blob(seed + 50, (9, 30, 26))
    if seed == 5:  # up to the edge of the image
        reference, prediction = reference[3:6, 10:20, 8:16], prediction[3:6, 10:20, 8:16]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = package.compute_surface_distances(reference == 1, prediction == 1, SPACING)
    areas = np.concatenate([theirs["surfel_areas_gt"], theirs["surfel_areas_pred"]])
    distances = np.concatenate([theirs["distances_gt_to_pred"], theirs["distances_pred_to_gt"]])
    found = measured(reference, prediction, tolerance=1.2)
    assert found["hd95_surfel_mm"] == pytest.approx(package.compute_robust_hausdorff(theirs, 95), abs=1e-9)
    assert found["nsd_surfel_1.2mm"] == pytest.approx(package.compute_surface_dice_at_tolerance(theirs, 1.2), abs=1e-9)
    assert found["assd_surfel_mm"] == pytest.approx((areas * distances).sum() / areas.sum(), abs=1e-9)
    there, back = package.compute_average_surface_distance(theirs)
    assert min(there, back) <= found["assd_surfel_mm"] <= max(there, back)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("seed", range(4))
def test_voxel_distances_equal_monai(seed: int) -> None:
    monai = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    reference, prediction = blob(seed, (9, 30, 26)), blob(seed + 50, (9, 30, 26))
    if seed == 3:  # up to the edge of the image
        reference, prediction = reference[3:6, 10:20, 8:16], prediction[3:6, 10:20, 8:16]
    masks = {"y_pred": torch.from_numpy(prediction)[None, None] == 1, "y": torch.from_numpy(reference)[None, None] == 1}
    common = {**{key: mask.float() for key, mask in masks.items()}, "include_background": True, "spacing": SPACING}
    found = measured(reference, prediction, tolerance=1.2)
    theirs = {
        "hd95_voxel_mm": monai.compute_hausdorff_distance(**common, percentile=95),
        "assd_voxel_mm": monai.compute_average_surface_distance(**common, symmetric=True),
        "nsd_voxel_1.2mm": monai.compute_surface_dice(**common, class_thresholds=[1.2]),
    }
    assert {key: found[key] for key in theirs} == pytest.approx(
        {key: float(value) for key, value in theirs.items()}, abs=1e-6
    )


# --- what must not matter, and what must --------------------------------------------------------------------------


def test_place_in_the_image_does_not_matter() -> None:
    reference, prediction = blob(2), blob(60)
    plain = measured(reference, prediction)
    assert (
        measured(np.pad(reference, ((1, 9), (30, 2), (0, 25))), np.pad(prediction, ((1, 9), (30, 2), (0, 25)))) == plain
    )
    turned = measured(reference.transpose(2, 0, 1), prediction.transpose(2, 0, 1), spacing=(0.75, 4.4, 0.5))
    assert turned == pytest.approx(plain, abs=1e-9)


def test_sides_are_exchangeable() -> None:
    assert measured(blob(2), blob(60)) == pytest.approx(measured(blob(60), blob(2)), abs=1e-12)


def test_each_structure_is_measured_against_its_own_name() -> None:
    structures = Structures.of({"background": 0, "a": 1, "high": 200, "both": [1, 200]})
    reference, prediction = blob(3), blob(70)
    two = [np.where(blob(seed) == 1, np.uint8(200), array) for seed, array in ((4, reference), (71, prediction))]
    for name, ids in (("a", [1]), ("high", [200]), ("both", [1, 200])):
        masks = [np.isin(array, ids).astype(np.uint8) for array in two]
        for dtype in (np.uint8, np.int16, np.float32):
            found = measured(two[0].astype(dtype), two[1].astype(dtype), structures, name=name)
            assert found == measured(*masks)


def test_ignored_voxels_belong_to_neither_side() -> None:
    structures = Structures.of({"background": 0, "a": 1, "ignore": 2})
    reference, prediction = blob(5), blob(80)
    ignored = np.zeros(reference.shape, bool)
    ignored[:, 8:] = True
    expected = measured(np.where(ignored, 0, reference), np.where(ignored, 0, prediction))
    assert measured(np.where(ignored, 2, reference).astype(np.uint8), prediction, structures) == expected
    assert measured(reference, prediction) != expected


def test_distance_of_the_tolerance_is_within_it_whatever_the_header_rounds() -> None:
    # Headers keep spacings in float32: five voxels of 0.2 mm are 1.0000000149 mm.
    spacing = (float(np.float32(0.2)),) * 3
    reference, prediction = np.zeros((1, 1, 9), np.uint8), np.zeros((1, 1, 9), np.uint8)
    reference[0, 0, 1] = 1
    prediction[0, 0, 6] = 1
    assert measured(reference, prediction, spacing=spacing)["nsd_voxel_1mm"] == 1.0
    assert measured(reference, prediction, spacing=(0.2001,) * 3)["nsd_voxel_1mm"] == 0.0


def test_surface_dice_at_any_tolerance_is_a_known_metric() -> None:
    keys = [nsd_metrics(t)[0].key for t in (0.5, 1.0, 12.0)]
    assert keys == ["nsd_surfel_0.5mm", "nsd_surfel_1mm", "nsd_surfel_12mm"]
    found = known_metrics([*keys, "dice", "strange", "nsd_surfel_xmm", "nsd_surfel_1.2.3mm"])
    assert list(found) == ["dice", "nsd_surfel_1mm", "nsd_surfel_0.5mm", "nsd_surfel_12mm"]
    assert found["nsd_surfel_0.5mm"].definition != METRICS["nsd_surfel_1mm"].definition


WRONG: dict[str, Callable[[Labels, Labels], dict[str, float]]] = {
    "isotropic": lambda r, p: measured(r, p, spacing=(1.0, 1.0, 1.0)),
    "exchanged axes": lambda r, p: measured(r, p, spacing=SPACING[::-1]),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_spacing_is_used_axis_by_axis(mistake: str) -> None:
    reference, prediction = blob(2), blob(60)
    assert WRONG[mistake](reference, prediction)["assd_voxel_mm"] != pytest.approx(
        measured(reference, prediction)["assd_voxel_mm"], rel=0.01
    )
