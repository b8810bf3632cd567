"""Patches across thick slices, with MRSpineSeg's geometry."""

from __future__ import annotations

import pytest

from nnunet_spine_ext.planning.depth import (
    Topology,
    full_depth_topologies,
    in_plane_shortage,
    largest_that_fits,
    through_plane_axis,
)

SHAPE, SPACING_MM = (12.0, 880.0, 880.0), (4.4, 0.3448, 0.3448)


@pytest.mark.parametrize(
    ("spacing_mm", "axis"),
    [
        (SPACING_MM, 0),
        ((0.5, 5.0, 0.5), 1),
        ((3.01, 1.0, 1.0), 0),
        ((3.0, 1.0, 1.0), None),
        ((1.0, 1.0, 1.0), None),
        ((4.0, 4.0, 0.5), None),
    ],
)
def test_thick_slices_are_those_of_nnunet(spacing_mm: tuple[float, ...], axis: int | None) -> None:
    assert through_plane_axis(spacing_mm) == axis


def test_every_patch_covers_all_slices_and_can_be_pooled() -> None:
    topologies = full_depth_topologies(shape=SHAPE, spacing_mm=SPACING_MM, axis=0)
    assert topologies[0].patch_size == (12, 896, 896)
    voxels = [t.patch_size[1] * t.patch_size[2] for t in topologies]
    assert voxels == sorted(voxels, reverse=True)
    assert min(topologies[-1].patch_size[1:]) < 32
    for topology in topologies:
        assert topology.patch_size[0] == 12
        total_stride = [1, 1, 1]
        for stage in topology.strides:
            total_stride = [t * s for t, s in zip(total_stride, stage, strict=True)]
        assert topology.divisors == tuple(total_stride)
        assert all(n % d == 0 for n, d in zip(topology.patch_size, total_stride, strict=True))
        assert topology == Topology.of(topology.patch_size, spacing_mm=SPACING_MM)


def test_depth_that_the_pooling_cannot_divide_is_rounded_up_not_down() -> None:
    topologies = full_depth_topologies(shape=(13, 200, 200), spacing_mm=SPACING_MM, axis=0)
    assert {t.patch_size[0] for t in topologies if t.divisors[0] == 2} == {14}
    assert {t.patch_size[0] for t in topologies if t.divisors[0] == 1} <= {13}


def test_the_axis_that_shows_most_of_the_image_shrinks_first() -> None:
    topologies = full_depth_topologies(shape=(12, 880, 464), spacing_mm=SPACING_MM, axis=0)
    # 896 × 512 rounds up most along the last axis (110 %), then both shrink in turn.
    assert [t.patch_size[1:] for t in topologies[:2]] == [(896, 512), (896, 448)]


@pytest.mark.parametrize("limit", range(12))
def test_the_search_finds_what_a_scan_finds(limit: int) -> None:
    topologies = full_depth_topologies(shape=(12, 200, 200), spacing_mm=SPACING_MM, axis=0)

    def fits(topology: Topology) -> bool:
        return topologies.index(topology) >= limit

    scanned = next((t for t in topologies if fits(t)), None)
    assert largest_that_fits(topologies, fits) == scanned


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ((12, 320, 320), None),  # 110 mm, 36 % of 880
        ((12, 320, 288), "99 mm, 33% of the image, less than 33%, along axis 2"),
        ((12, 256, 320), "88 mm, 29% of the image, less than 33%, along axis 1"),
    ],
)
def test_auto_wants_a_third_of_the_image(patch: tuple[int, int, int], reason: str | None) -> None:
    topology = Topology(patch_size=patch, strides=(), kernel_sizes=(), divisors=())
    found = in_plane_shortage(topology, shape=SHAPE, spacing_mm=SPACING_MM, axis=0)
    assert found is None if reason is None else found is not None and found.endswith(reason)


def test_auto_wants_60_mm_or_the_whole_image() -> None:
    topology = Topology(patch_size=(12, 64, 64), strides=(), kernel_sizes=(), divisors=())
    narrow = in_plane_shortage(topology, shape=(12, 100, 100), spacing_mm=(6.0, 0.9, 0.9), axis=0)
    assert narrow is not None
    assert "58 mm" in narrow
    assert "less than 60 mm" in narrow
    assert in_plane_shortage(topology, shape=(12, 60, 60), spacing_mm=(6.0, 0.9, 0.9), axis=0) is None
