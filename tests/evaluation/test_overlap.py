"""Overlap metrics against hand-worked cases, a loop over voxels, and the definitions of nnU-Net and the challenge."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.evaluation.metrics import METRICS, OVERLAP_METRICS, SLICE_METRICS
from nnunet_spine_ext.evaluation.overlap import (
    FORMULAS,
    challenge_dice,
    confusion_matrix,
    matrix_of,
    overlap_rows,
    unknown_values,
)
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES, UNION, Structures
from tests.evaluation.fake import random_labels

NAN = math.nan
TWO = Structures.of({"background": 0, "a": 1, "b": 2})


def measured(reference: object, prediction: object, structures: Structures = TWO) -> dict[tuple[str, str], float]:
    arrays = np.array(reference, dtype=np.uint8), np.array(prediction, dtype=np.uint8)
    matrix = matrix_of(*arrays, structures)
    return {(label, key): value for label, key, value in overlap_rows(matrix, structures, voxel_ml=0.5)}


def same(ours: float, theirs: float) -> bool:
    return ours == theirs or (math.isnan(ours) and math.isnan(theirs))


def test_hand_worked_case() -> None:
    # a: reference 4 voxels, prediction 3, shared 2 → TP 2, FP 1, FN 2, TN 5.
    found = measured([1, 1, 1, 1, 0, 0, 0, 2, 0, 0], [1, 1, 0, 0, 1, 0, 0, 2, 2, 0])
    expected = {
        "dice": 4 / 7,
        "iou": 2 / 5,
        "sensitivity": 2 / 4,
        "ppv": 2 / 3,
        "specificity": 5 / 6,
        "accuracy": 7 / 10,
        "fnr": 2 / 4,
        "fpr": 1 / 6,
        "mse": 3 / 10,
        "volume_difference_ml": -0.5,
        "reference_voxels": 4,
        "prediction_voxels": 3,
    }
    assert {key: found["a", key] for key in expected} == pytest.approx(expected, abs=0)
    assert found["b", "dice"] == 2 / 3
    # Union: reference 5, prediction 5, shared 3.
    assert found[UNION, "dice"] == 6 / 10
    assert found[ALL_STRUCTURES, "challenge_dice"] == pytest.approx((4 / 7 + 2 / 3) / 2, abs=1e-15)


MISSING = {
    # metric: (missing in the reference only, in the prediction only, in both), of 1 predicted / 2 true voxels out of 8
    "dice": (0, 0, NAN),
    "iou": (0, 0, NAN),
    "sensitivity": (NAN, 0, NAN),
    "ppv": (0, NAN, NAN),
    "specificity": (7 / 8, 1, NAN),
    "accuracy": (7 / 8, 6 / 8, NAN),
    "fnr": (NAN, 1, NAN),
    "fpr": (1 / 8, 0, NAN),
    "mse": (1 / 8, 2 / 8, NAN),
    "volume_difference_ml": (0.5, -1, NAN),
    "reference_voxels": (0, 2, 0),
    "prediction_voxels": (1, 0, 0),
}


@pytest.mark.parametrize("metric", MISSING)
def test_missing_label_cell_by_cell(metric: str) -> None:
    nothing, one, two = [0] * 8, [1] + [0] * 7, [0, 1, 1] + [0] * 5
    found = [measured(*pair)["a", metric] for pair in ((nothing, one), (two, nothing), (nothing, nothing))]
    assert all(same(ours, expected) for ours, expected in zip(found, MISSING[metric], strict=True)), found


def test_missing_label_table_covers_every_metric_and_every_metric_has_a_formula() -> None:
    assert [m.key for m in OVERLAP_METRICS] == list(MISSING) == list(FORMULAS)
    assert {m.key for m in SLICE_METRICS} == {f"slice_{key}" for key in MISSING if METRICS[key].unit == ""}


def test_no_two_metrics_have_the_same_name() -> None:
    assert len(METRICS) == len({metric.title for metric in METRICS.values()})
    assert all(key == metric.key for key, metric in METRICS.items())


def test_structure_that_fills_the_image_has_no_specificity() -> None:
    assert math.isnan(measured([1, 1], [1, 1])["a", "specificity"])


def by_voxel_loop(reference: NDArray[np.uint8], prediction: NDArray[np.uint8], ids: set[int]) -> dict[str, float]:
    tp = fp = fn = tn = 0
    for r, p in zip(reference.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        tp += r in ids and p in ids
        fp += r not in ids and p in ids
        fn += r in ids and p not in ids
        tn += r not in ids and p not in ids
    return {"tp": tp, "fp": fp, "fn": fn, "tn": tn}


@pytest.mark.parametrize("seed", range(3))
def test_every_metric_equals_a_voxel_loop(seed: int) -> None:
    labels = {"background": 0, "gap": 2, "high": 9, "region": [2, 5, 9]}
    choices = np.array([0, 2, 5, 9], dtype=np.uint8)
    reference, prediction = choices[random_labels(seed)], choices[random_labels(seed + 50)]
    found = measured(reference, prediction, Structures.of(labels))
    for name, ids in (("gap", {2}), ("high", {9}), ("region", {2, 5, 9}), (UNION, {2, 5, 9})):
        n = by_voxel_loop(reference, prediction, ids)
        assert found[name, "dice"] == 2 * n["tp"] / (2 * n["tp"] + n["fp"] + n["fn"])
        assert found[name, "iou"] == n["tp"] / (n["tp"] + n["fp"] + n["fn"])
        assert found[name, "sensitivity"] == n["tp"] / (n["tp"] + n["fn"])
        assert found[name, "ppv"] == n["tp"] / (n["tp"] + n["fp"])
        assert found[name, "specificity"] == n["tn"] / (n["tn"] + n["fp"])
        assert found[name, "accuracy"] == (n["tp"] + n["tn"]) / reference.size
        assert found[name, "fnr"] == n["fn"] / (n["fn"] + n["tp"])
        assert found[name, "fpr"] == n["fp"] / (n["fp"] + n["tn"])
        assert found[name, "volume_difference_ml"] == (n["fp"] - n["fn"]) * 0.5
        assert found[name, "reference_voxels"] == n["tp"] + n["fn"]
        assert found[name, "prediction_voxels"] == n["tp"] + n["fp"]


def test_mse_is_that_of_the_masks_as_paper_001_writes_it() -> None:
    reference, prediction = random_labels(3, highest=2), random_labels(4, highest=2)
    found = measured(reference, prediction)["a", "mse"]
    squares = [(float(r == 1) - float(p == 1)) ** 2 for r, p in zip(reference.flat, prediction.flat, strict=True)]
    assert found == pytest.approx(sum(squares) / len(squares), abs=1e-15)


def test_ignored_voxels_count_nowhere() -> None:
    structures = Structures.of({"background": 0, "a": 1, "ignore": 2})
    reference, prediction = [1, 1, 0, 0, 2, 2, 2], [1, 0, 1, 0, 1, 0, 2]
    kept = measured(reference[:4], prediction[:4], structures)
    assert measured(reference, prediction, structures) == kept
    assert kept["a", "dice"] == 2 / 4
    assert math.isnan(measured([2, 2], [1, 0], structures)["a", "dice"])


def challenge_score_naive(reference: NDArray[np.uint8], prediction: NDArray[np.uint8], class_num: int) -> float:
    """Follow the challenge's own words: skip a class in neither array, average the rest without background."""
    scores = []
    for i in range(1, class_num):
        r, p = reference == i, prediction == i
        if not r.any() and not p.any():
            continue
        tp, fp, fn = (r & p).sum(), (~r & p).sum(), (r & ~p).sum()
        scores.append(2 * tp / (2 * tp + fp + fn + 1e-10))
    return float(np.mean(scores)) if scores else NAN


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_challenge_score_equals_the_challenge_rule(voxels: list[tuple[int, int]]) -> None:
    reference, prediction = np.array(voxels, dtype=np.uint8).T
    structures = Structures.of({str(i): i for i in range(1, 6)})
    found = measured(reference, prediction, structures)[ALL_STRUCTURES, "challenge_dice"]
    assert found == pytest.approx(challenge_score_naive(reference, prediction, 6), abs=1e-10, nan_ok=True)


def test_challenge_score_counts_a_structure_on_one_side_as_zero_and_leaves_out_one_on_neither() -> None:
    assert measured([1, 1, 0], [1, 1, 2])[ALL_STRUCTURES, "challenge_dice"] == 0.5
    assert measured([1, 1, 0], [1, 1, 0])[ALL_STRUCTURES, "challenge_dice"] == 1.0
    assert math.isnan(challenge_dice([NAN, NAN]))


def test_dice_and_iou_agree_with_nnunet() -> None:
    evaluation = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions")
    labels = {"background": 0, "a": 1, "b": [1, 2], "absent": 4, "ignore": 3}
    reference, prediction = random_labels(1), random_labels(2, highest=2)
    found = measured(reference, prediction, Structures.of(labels))
    for name, ids in (("a", 1), ("b", (1, 2)), ("absent", 4)):
        masks = [evaluation.region_or_label_to_mask(x, ids) for x in (reference, prediction)]
        tp, fp, fn, _ = evaluation.compute_tp_fp_fn_tn(*masks, reference == 3)
        there = tp + fp + fn > 0
        assert same(found[name, "dice"], 2 * tp / (2 * tp + fp + fn) if there else NAN)
        assert same(found[name, "iou"], tp / (tp + fp + fn) if there else NAN)


def test_confusion_matrix_has_references_in_rows_and_spans_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnunet_spine_ext.evaluation.overlap._CHUNK_VOXELS", 3)
    found = confusion_matrix(np.array([0, 1, 1, 2, 1, 0, 1]), np.array([0, 1, 2, 2, 2, 1, 1]), side=3)
    assert found.tolist() == [[1, 1, 0], [0, 2, 2], [0, 0, 1]]
    with pytest.raises(ValueError, match="shape"):
        confusion_matrix(np.zeros(3, int), np.zeros(4, int), side=1)


@pytest.mark.parametrize(
    ("array", "unknown"),
    [
        (np.array([0, 1, 20, 20], dtype=np.uint8), [20.0]),
        (np.array([0.0, 1.0, 2.5], dtype=np.float32), [2.5]),
        (np.array([0.0, 1.0, 2.0], dtype=np.float64), []),
        (np.array([-1, 0, 60000], dtype=np.int32), [-1.0, 60000.0]),
        (np.array([60000], dtype=np.uint16), [60000.0]),
    ],
)
def test_values_that_no_structure_names_are_found(array: NDArray[np.generic], unknown: list[float]) -> None:
    assert unknown_values(array, frozenset({0, 1, 2})) == unknown


def test_not_a_number_is_found() -> None:
    (found,) = unknown_values(np.array([0.0, NAN]), frozenset({0}))
    assert math.isnan(found)


@pytest.mark.parametrize(
    "labels",
    [{"background": 0}, {"a": 0}, {"a": [1, 0]}, {"a": []}, {"a": "1"}, {UNION: 1}, {ALL_STRUCTURES: 1}],
)
def test_bad_label_tables_are_refused(labels: dict[str, int]) -> None:
    with pytest.raises(SpineExtError):
        Structures.of(labels)
