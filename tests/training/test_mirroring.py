from __future__ import annotations

import pytest

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.training.mirroring import choose_mirroring


def ordered(axis: object) -> dict[str, object]:
    return {"spine": {"ordered_labels": True, "cranio_caudal_axis_zyx": axis}}


@pytest.mark.parametrize(
    ("raw_axis", "transpose", "kept"),
    [
        (1, (0, 1, 2), (0, 2)),
        (0, (0, 1, 2), (1, 2)),
        # Raw axis 1 comes first in the preprocessed array, then last.
        (1, (1, 0, 2), (1, 2)),
        (1, (2, 0, 1), (0, 1)),
        (2, (2, 0, 1), (1, 2)),
    ],
)
def test_cranio_caudal_axis_is_followed_through_the_transpose(
    raw_axis: int, transpose: tuple[int, ...], kept: tuple[int, ...]
) -> None:
    found = choose_mirroring((0, 1, 2), dataset=ordered(raw_axis), transpose_forward=transpose, dimensions=3)
    assert found.axes == kept


@pytest.mark.parametrize(
    ("raw_axis", "transpose", "kept"),
    [
        # A 2d patch has the axes 1 and 2 of the preprocessed array, which it counts 0 and 1.
        (1, (0, 1, 2), (1,)),
        (2, (0, 1, 2), (0,)),
        (0, (0, 1, 2), (0, 1)),
        (1, (1, 0, 2), (0, 1)),
        (0, (2, 1, 0), (0,)),
    ],
)
def test_axes_of_a_2d_patch(raw_axis: int, transpose: tuple[int, ...], kept: tuple[int, ...]) -> None:
    found = choose_mirroring((0, 1), dataset=ordered(raw_axis), transpose_forward=transpose, dimensions=2)
    assert found.axes == kept


@pytest.mark.parametrize("dataset", [{}, {"spine": {"ordered_labels": False, "cranio_caudal_axis_zyx": 1}}])
def test_other_datasets_keep_the_choice_of_nnunet(dataset: dict[str, object]) -> None:
    for axes, dimensions in (((0, 1, 2), 3), ((0, 1), 2)):
        found = choose_mirroring(axes, dataset=dataset, transpose_forward=(0, 1, 2), dimensions=dimensions)
        assert found.axes == axes


def test_no_mirroring_stays_none() -> None:
    assert choose_mirroring(None, dataset=ordered(1), transpose_forward=(0, 1, 2), dimensions=3).axes == ()


@pytest.mark.parametrize("axis", [None, 3, "y"])
def test_ordered_labels_without_an_axis_are_refused(axis: object) -> None:
    with pytest.raises(SetupError, match="cranio_caudal_axis_zyx"):
        choose_mirroring((0, 1, 2), dataset=ordered(axis), transpose_forward=(0, 1, 2), dimensions=3)


def test_the_reason_names_the_axes() -> None:
    found = choose_mirroring((0, 1, 2), dataset=ordered(1), transpose_forward=(0, 1, 2), dimensions=3)
    assert "(0, 2)" in found.reason
    assert "axis 1" in found.reason
