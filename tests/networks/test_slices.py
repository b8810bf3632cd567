"""A 2D network on 3D patches: what it sees, in which order, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.slices import SliceOptions, SliceWise, plane_words, slicing_axis
from tests.networks.tiny import PLANS, SMALL


class Recorder(nn.Module):
    """Keeps what it was given and returns the first two channels."""

    def __init__(self, *, several: bool = False) -> None:
        super().__init__()
        self.several = several

    def forward(self, x: Tensor) -> Any:
        self.seen = x
        out = x[:, :2]
        return [out, out[..., ::2, ::2]] if self.several else out


def adapter(*, axis: int | None = 0, several: bool = False, **options: Any) -> SliceWise:
    return SliceWise.around(SliceOptions(**options), axis=axis).wrap(Recorder(several=several))


def test_window_of_five_slices_repeats_the_ends() -> None:
    adapted = adapter(neighbours=2)
    depth = torch.arange(7.0).view(1, 1, 7, 1, 1).expand(1, 1, 7, 3, 4)
    adapted(depth)
    windows = [[int(v) for v in row] for row in adapted.network.seen[:, :, 0, 0]]  # type: ignore[union-attr,index]
    assert windows[:3] == [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 4]]
    assert windows[-1] == [4, 5, 6, 6, 6]


def test_neighbours_of_one_channel_stand_side_by_side() -> None:
    adapted = adapter(neighbours=1)
    x = torch.arange(2.0).view(1, 2, 1, 1, 1) * 10 + torch.arange(3.0).view(1, 1, 3, 1, 1)
    adapted(x.expand(1, 2, 3, 2, 2))
    assert adapted.network.seen[1, :, 0, 0].tolist() == [0, 1, 2, 10, 11, 12]  # type: ignore[union-attr,index]
    assert adapted.channels(2) == 6


def test_coordinates_are_rows_then_columns_from_0_to_1() -> None:
    adapted = adapter(coordinates=True)
    adapted(torch.zeros(2, 1, 3, 5, 3))
    seen = adapted.network.seen  # type: ignore[union-attr]
    assert seen.shape == (6, 3, 5, 3)
    assert seen[4, 1, :, 2].tolist() == [0, 0.25, 0.5, 0.75, 1]  # type: ignore[index]
    assert seen[4, 2, 3].tolist() == [0, 0.5, 1]  # type: ignore[index]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_voxel_comes_back_where_it_was(axis: int) -> None:
    x = torch.randn(2, 3, 4, 5, 6)
    out = adapter(axis=axis)(x)
    torch.testing.assert_close(out, x[:, :2])
    assert out.is_contiguous()


def test_outputs_of_several_resolutions_keep_their_order_and_all_slices() -> None:
    x = torch.randn(2, 3, 4, 6, 8)
    full, half = adapter(several=True)(x)
    torch.testing.assert_close(full, x[:, :2])
    torch.testing.assert_close(half, x[:, :2, :, ::2, ::2])


def test_flat_patches_get_coordinates_but_no_neighbours() -> None:
    adapted = adapter(axis=None, neighbours=2, coordinates=True)
    adapted(torch.zeros(1, 2, 5, 3))
    assert adapted.channels(2) == 4
    assert adapted.network.seen.shape == (1, 4, 5, 3)  # type: ignore[union-attr]


def test_words_of_a_slice_leave_the_slicing_axis_out() -> None:
    last = PLANS["through-plane axis last"].words()
    assert slicing_axis(last) == 2
    words = plane_words(last, 2)
    assert words["conv_op"] is nn.Conv2d
    assert words["norm_op"] is nn.InstanceNorm2d
    assert words["kernel_sizes"] == [[3, 3]] * 3
    assert words["strides"] == [[1, 1], [2, 2], [2, 2]]
    assert slicing_axis(SMALL.words()) == 0


def test_negative_neighbours_are_refused() -> None:
    with pytest.raises(NetworkPlanError, match="neighbours is -1"):
        SliceOptions(neighbours=-1)
