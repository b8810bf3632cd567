"""Vertebrae and discs by their level: order read from the names, identification, label shifts, confusions by name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from nnunet_spine_ext.data.labels import MRSPINESEG_STRUCTURES
from nnunet_spine_ext.evaluation.case import compare
from nnunet_spine_ext.evaluation.confusion import confusion_rows
from nnunet_spine_ext.evaluation.levels import chains, level_of
from nnunet_spine_ext.evaluation.metrics import LEVEL_CASE_METRICS, LEVEL_METRICS
from nnunet_spine_ext.evaluation.options import Options
from nnunet_spine_ext.evaluation.overlap import matrix_of
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES, Labels, Structures

NAN = math.nan
SPACING = (4.0, 1.0, 1.0)
HEIGHT = 12
NAMES = ("T12", "L1", "L2", "L3", "L4", "L5", "S")
SPINE = Structures.of({"background": 0, **{name: i for i, name in enumerate(NAMES, start=1)}})


def column(names: Sequence[str], *, known: Sequence[str] = NAMES, down: int = 0) -> NDArray[np.uint8]:
    """Return vertebrae 10 mm high, 2 mm apart, from head to foot, labelled with `names`; "" leaves one out."""
    labels = np.zeros((3, 110, 20), np.uint8)
    for i, name in enumerate(names):
        top = 5 + i * HEIGHT + down
        labels[:, top : top + 10, 4:16] = known.index(name) + 1 if name else 0
    return labels


def measured(
    reference: NDArray[np.uint8], prediction: NDArray[np.uint8], structures: Structures = SPINE
) -> dict[tuple[str, str], float]:
    options = Options(distances=False)
    found = compare(reference, prediction, structures, options, spacing_zyx_mm=SPACING)
    return {(label, metric): value for label, metric, value in found.rows}


def of_case(found: dict[tuple[str, str], float]) -> tuple[float, ...]:
    return tuple(found[ALL_STRUCTURES, metric.key] for metric in LEVEL_CASE_METRICS)


def same(found: Sequence[float], expected: Sequence[float]) -> bool:
    return np.array_equal(found, expected, equal_nan=True)


# --- order, from the names ----------------------------------------------------------------------------------------


def test_challenge_names_are_a_chain_of_vertebrae_and_one_of_discs() -> None:
    labels = {name: i for i, name in enumerate(MRSPINESEG_STRUCTURES, start=1)}
    found = {chain.kind: [s.name for s in chain.structures] for chain in chains(Structures.of(labels))}
    assert found == {
        "vertebra": ["T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S"],
        "disc": ["T9/T10", "T10/T11", "T11/T12", "T12/L1", "L1/L2", "L2/L3", "L3/L4", "L4/L5", "L5/S"],
    }


def test_vertebrae_counted_from_below_run_from_head_to_foot_too() -> None:
    names = [
        "vertebra 1",
        "vertebra 2",
        "vertebra 10",
        "spinal canal",
        "disc below vertebra 1",
        "disc below vertebra 2",
    ]
    found = chains(Structures.of({name: i for i, name in enumerate(names, start=1)}))
    assert [[s.name for s in chain.structures] for chain in found] == [
        ["vertebra 10", "vertebra 2", "vertebra 1"],
        ["disc below vertebra 2", "disc below vertebra 1"],
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("C7", "T1", "T12", "T13", "L1", "L6", "sacrum"),
        ("vertebrae_C1", "vertebrae_C2", "vertebrae_T1", "vertebrae_S1"),
        ("Th11", "Th12", "L1"),
        ("disc_T12_L1", "disc_L1_L2", "disc_L5_S"),
        ("C2-C3", "C7-T1", "L5-S1"),
    ],
)
def test_names_in_use_elsewhere_are_known(names: tuple[str, ...]) -> None:
    backwards = {name: i for i, name in enumerate(reversed(names), start=1)}
    (chain,) = chains(Structures.of(backwards))
    assert tuple(s.name for s in chain.structures) == names


@pytest.mark.parametrize("name", ["spine", "vertebrae", "spinal canal", "left lung", "C", "L12x", "T2 lesion", "disc"])
def test_other_names_have_no_level(name: str) -> None:
    assert level_of(name) is None


def test_without_levels_there_are_no_rows_by_level() -> None:
    for labels in ({"vertebrae": 1, "discs": 2}, {"L5": 1, "canal": 2}):
        found = measured(column(["T12"]), column(["T12"]), Structures.of(labels))
        assert not {metric for _, metric in found} & {m.key for m in (*LEVEL_METRICS, *LEVEL_CASE_METRICS)}


# --- identification and shifts ------------------------------------------------------------------------------------


def test_right_names_are_identified_and_not_shifted() -> None:
    found = measured(column(NAMES), column(NAMES, down=2))
    assert of_case(found) == (1.0, 0.0, 0.0)
    assert all(found[name, "identified"] == 1 and found[name, "label_shift"] == 0 for name in NAMES)


def test_every_name_one_level_too_high() -> None:
    true, told = column(["", "L1", "L2", "L3", "L4", "L5"]), column(["", "T12", "L1", "L2", "L3", "L4"])
    found = measured(true, told)
    assert of_case(found) == (0.0, 5.0, 1.0)
    assert [found[name, "label_shift"] for name in ("L1", "L5")] == [1.0, 1.0]
    assert found["L3", "dice"] == 0
    assert of_case(measured(told, true)) == (0.0, 5.0, -1.0)


def test_two_neighbours_exchanged_and_one_two_levels_off() -> None:
    found = measured(column(["T12", "L1", "L2", "L3", "L4"]), column(["T12", "L2", "L1", "L5", "L4"]))
    assert [found[name, "label_shift"] for name in NAMES[:5]] == [0.0, -1.0, 1.0, -2.0, 0.0]
    assert of_case(found) == (2 / 5, 3.0, 1.0)  # three different shifts: the least, and of those towards the head
    more = measured(column(["T12", "L1", "L2", "L3", "L4"]), column(["L1", "L2", "T12", "L5", "L4"]))
    assert [more[name, "label_shift"] for name in NAMES[:5]] == [-1.0, -1.0, 2.0, -2.0, 0.0]
    assert of_case(more)[1:] == (4.0, -1.0)


def test_level_that_a_case_does_not_have_is_skipped_in_counting() -> None:
    known = ("T11", "T12", "T13", "L1", "L2")
    structures = Structures.of({name: i for i, name in enumerate(known, start=1)})
    true, told = ("T12", "L1", "L2"), ("T11", "T12", "L1")  # nobody has T13: L1 called T12 is one level off
    found = measured(column(true, known=known), column(told, known=known), structures)
    assert [found[name, "label_shift"] for name in true] == [1.0, 1.0, 1.0]


def test_shape_must_be_right_for_a_shift() -> None:
    # 10 mm high, moved by 3: IoU 7/13, by 4: 6/14.
    near, far = (measured(column(["L1", "L2"]), column(["L2", ""], down=d)) for d in (3, 4))
    assert near["L1", "label_shift"] == -1
    assert math.isnan(far["L1", "label_shift"])
    assert of_case(near)[1:] == (1.0, -1.0)
    assert same(of_case(far)[1:], (0.0, NAN))


def test_identified_needs_to_be_nearest_and_within_20_mm() -> None:
    reference = np.zeros((3, 110, 20), np.uint8)
    reference[:, 40:50] = 2
    for rows, expected in ((19, 1.0), (20, 0.0), (21, 0.0)):  # less than 20 mm, not 20 mm
        found = measured(reference, np.roll(reference, rows, axis=1))
        assert found["L1", "identified"] == expected
    prediction = np.roll(reference, 8, axis=1)
    prediction[:, 45:46] = 3  # a speck of L2 is nearer to the true L1 than the predicted L1
    assert measured(reference, prediction)["L1", "identified"] == 0
    for slices, expected in ((4, 1.0), (5, 0.0)):  # slices are 4 mm thick
        tall = np.zeros((9, 20, 20), np.uint8)
        tall[0, 5:15, 5:15] = 2
        assert measured(tall, np.roll(tall, slices, axis=0))["L1", "identified"] == expected


def test_discs_do_not_hide_vertebrae() -> None:
    structures = Structures.of({"L1": 1, "L2": 2, "L1/L2": 3, "L2/L3": 4})
    reference = np.zeros((3, 60, 20), np.uint8)
    reference[:, 10:20], reference[:, 20:24], reference[:, 24:34] = 1, 3, 2
    prediction = np.roll(reference, 11, axis=1)  # the true L2's nearest is the disc, its nearest vertebra is L1
    found = measured(reference, prediction, structures)
    assert [found[name, "identified"] for name in ("L1", "L2", "L1/L2")] == [1.0, 0.0, 1.0]
    assert math.isnan(found["L2/L3", "identified"])


MISSING = {
    # metric: (missing in the reference only, in the prediction only, in both)
    "identified": (NAN, 0.0, NAN),
    "label_shift": (NAN, -1.0, NAN),  # the true L1 is called L2
}


def test_missing_label_table_covers_every_metric_by_level() -> None:
    assert list(MISSING) == [metric.key for metric in LEVEL_METRICS]


@pytest.mark.parametrize("metric", MISSING)
def test_missing_label_cell_by_cell(metric: str) -> None:
    only, other, nothing = column(["L1"]), column(["L2"]), column([""])
    found = tuple(measured(*pair)["L1", metric] for pair in ((nothing, only), (only, other), (nothing, nothing)))
    assert same(found, MISSING[metric]), found
    assert math.isnan(measured(only, nothing)["L1", "label_shift"])


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        (("nothing", "something"), (NAN, NAN, NAN)),
        (("something", "nothing"), (0.0, 0.0, NAN)),
        (("nothing", "nothing"), (NAN, NAN, NAN)),
    ],
)
def test_missing_side_of_a_whole_case(sides: tuple[str, str], expected: tuple[float, ...]) -> None:
    arrays = {"nothing": column([""]), "something": column(["L1", "L2"])}
    assert same(of_case(measured(*(arrays[side] for side in sides))), expected)


# --- confusions ---------------------------------------------------------------------------------------------------


def confusions(labels: Labels, reference: list[int], prediction: list[int]) -> list[tuple[str, str, int]]:
    structures = Structures.of(labels)
    return confusion_rows(matrix_of(np.array(reference), np.array(prediction), structures), structures)


def test_confusions_name_both_sides_and_leave_out_zeros() -> None:
    found = confusions({"background": 0, "L5": 2, "S": 1}, [0, 0, 1, 1, 2, 2, 2], [0, 1, 1, 2, 2, 2, 1])
    assert found == [
        ("background", "background", 1),
        ("background", "S", 1),
        ("L5", "L5", 2),
        ("L5", "S", 1),
        ("S", "L5", 1),
        ("S", "S", 1),
    ]


def test_ignored_voxels_are_in_no_confusion_and_regions_are_named_together() -> None:
    labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    found = confusions(labels, [0, 1, 2, 2, 3, 3], [0, 1, 2, 0, 1, 2])
    assert found == [
        ("background", "background", 1),
        ("whole", "whole", 1),
        ("whole + core", "background", 1),
        ("whole + core", "whole + core", 1),
    ]
