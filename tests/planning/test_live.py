"""Living bytes, by hand."""

from __future__ import annotations

import torch

from nnunet_spine_ext.planning.live import LiveBytes


def test_allocations_releases_views_and_updates_in_place() -> None:
    before = torch.zeros(10)
    with LiveBytes(weights=[before]) as live:
        assert live.now == 40
        a = torch.zeros(100)
        assert live.now == 440
        view = a[10:20]
        a.add_(1)
        assert live.now == 440
        del a
        assert live.now == 440  # the view holds all of it
        del view
        assert live.now == 40
        assert live.peak == 440
        assert live.hold([before]) == 0
        live.reserve(1000)
        assert (live.now, live.peak) == (1040, 1040)


def test_temporary_tensors_count_towards_the_peak() -> None:
    with LiveBytes() as live:
        x = torch.ones(100)
        x = x * 2 + 1  # at most x, x * 2 and the sum together
        assert live.now == 400
        assert live.peak == 1200


def test_half_precision_copies_of_weights_are_told_apart() -> None:
    weight, other = torch.zeros(10), torch.zeros(10)
    with LiveBytes(weights=[weight]) as live:
        copy = weight.half()
        another = other.half()
        assert list(live.half_copies.values()) == [20]
        del copy, another
        assert not live.half_copies
