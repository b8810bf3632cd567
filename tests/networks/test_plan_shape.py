"""Reading the words of a plan."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from nnunet_spine_ext.errors import PlanError
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError, PlanShape, through_plane_axis

K1, K3 = [1, 3, 3], [3, 3, 3]
S1 = [1, 1, 1]

AXES = {
    # nnU-Net's plans: 6x512x512, 8x640x320 and 12x640x640 of thick slices
    "never pooled through": ([K1] * 3 + [K3] * 5, [S1] + [[1, 2, 2]] * 7, 0),
    "pooled through once": ([K1] * 3 + [K3] * 4, [S1, *[[1, 2, 2]] * 3, [2, 2, 2], *[[1, 2, 2]] * 2], 0),
    # without nnU-Net's transposition
    "last axis": ([[3, 3, 1], K3], [S1, [2, 2, 1]], 2),
    "kernels of 3 throughout": ([K3] * 3, [S1, [2, 1, 2], [2, 2, 2]], 1),
    # nnU-Net's plans for isotropic images
    "cube": ([K3] * 6, [S1] + [[2, 2, 2]] * 5, None),
    "128 x 112 x 160": ([K3] * 6, [S1, *[[2, 2, 2]] * 4, [2, 1, 2]], None),
    "two coarse axes": ([[1, 1, 3], K3], [S1, [1, 1, 2]], None),
}


@pytest.mark.parametrize(("kernels", "strides", "expected"), AXES.values(), ids=AXES)
def test_through_plane_axis(kernels: list[list[int]], strides: list[list[int]], expected: int | None) -> None:
    assert through_plane_axis(kernels, strides) == expected


def words(**changed: Any) -> dict[str, Any]:
    return {
        "n_stages": 3,
        "features_per_stage": [4, 8, 16],
        "conv_op": nn.Conv3d,
        "kernel_sizes": [[3, 3, 1], K3, K3],
        "strides": [S1, [2, 2, 1], [2, 4, 1]],
        **changed,
    }


def test_through_plane_axis_comes_first_in_the_network() -> None:
    shape = PlanShape.from_words(**words())
    assert shape.order == (2, 0, 1)
    assert shape.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 4))


def test_divisor_is_in_the_order_of_the_plan() -> None:
    assert PlanShape.from_words(**words()).divisor == (4, 8, 1)


def test_single_numbers_stand_for_all_stages_and_axes() -> None:
    shape = PlanShape.from_words(**words(features_per_stage=8, kernel_sizes=3, strides=[1, 2, 2]))
    assert shape.features == (8, 8, 8)
    assert shape.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    assert shape.through_plane_axis is None


def test_forced_axis_is_the_first() -> None:
    isotropic = words(kernel_sizes=3, strides=[1, 2, 2])
    assert PlanShape.from_words(**isotropic, force_through_plane=True).through_plane_axis == 0
    flat = words(conv_op=nn.Conv2d, kernel_sizes=3, strides=[1, 2, 2])
    assert PlanShape.from_words(**flat, force_through_plane=True).through_plane_axis is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"n_stages": 1}, "n_stages is 1"),
        ({"features_per_stage": [4, 8]}, "features_per_stage"),
        ({"features_per_stage": [4, 8, 0]}, "features_per_stage"),
        ({"strides": [S1, [2, 2, 1]]}, "strides"),
        ({"strides": [S1, [2, 2], [2, 2]]}, "strides"),
        ({"strides": [[1, 2, 2], [1, 2, 2], [1, 2, 2]]}, r"strides\[0\]"),
        ({"kernel_sizes": [[3, 3]] * 3}, "kernel_sizes"),
        ({"conv_op": "torch.nn.Conv3d"}, "conv_op"),
        ({"conv_op": nn.Conv1d}, "conv_op"),
    ],
)
def test_words_that_do_not_fit_are_named(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(NetworkPlanError, match=named):
        PlanShape.from_words(**words(**changed))


def test_error_is_a_value_error_for_torch_and_a_plan_error_for_the_command() -> None:
    assert issubclass(NetworkPlanError, ValueError)
    assert issubclass(NetworkPlanError, PlanError)
