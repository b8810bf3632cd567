"""Sagittal pictures: orientation and proportions by the header, the right slice, the right colours."""

from __future__ import annotations

import base64
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nnunet_spine_ext.data.geometry import Grid
from nnunet_spine_ext.evaluation.sources import read_sources
from nnunet_spine_ext.evaluation.structures import Structures
from nnunet_spine_ext.report.drawing import fill, grey, outline
from nnunet_spine_ext.report.overlays import NAME_PX, draw_cases
from nnunet_spine_ext.report.palette import CYCLE, colour, owners
from nnunet_spine_ext.report.sagittal import Frame, SagittalView
from tests.evaluation.fake import RAI, write_array
from tests.report.fake import CHALLENGE, CHU, spine, write_dataset_on_disk


def grid(direction: tuple[float, ...], size_xyz: tuple[int, int, int], spacing_xyz_mm: tuple[float, ...]) -> Grid:
    return Grid(size_xyz=size_xyz, spacing_xyz_mm=spacing_xyz_mm, origin_xyz_mm=(5.0, -7.0, 9.0), direction=direction)


def place_of_voxel(on: Grid, index_zyx: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the LPS position of a voxel by ITK's definition, computed here."""
    steps = np.array(index_zyx[::-1]) * np.array(on.spacing_xyz_mm)
    return np.array(on.origin_xyz_mm) + np.reshape(on.direction, (3, 3)) @ steps


GRIDS = {
    "challenge family, oblique": grid(CHALLENGE, (30, 40, 5), (0.34, 0.5, 4.4)),
    "Chu": grid(CHU, (5, 30, 40), (2.0, 1.25, 1.0)),
    "first axis up": grid((0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0), (40, 30, 5), (0.4, 0.5, 4.4)),
    "axial slices": grid(RAI, (30, 40, 6), (0.7, 0.8, 3.0)),
    "axial, upside down": grid((1.0, 0, 0, 0, -1.0, 0, 0, 0, -1.0), (30, 40, 6), (0.7, 0.8, 3.0)),
}


@pytest.mark.parametrize("on", GRIDS.values(), ids=GRIDS)
def test_head_is_up_and_front_is_left(on: Grid) -> None:
    view = SagittalView.of(on)
    numbered = np.arange(np.prod(on.size_xyz)).reshape(on.size_xyz[::-1])
    picture = view.cut(numbered, 2)

    def where(row: int, column: int) -> NDArray[np.float64]:
        return place_of_voxel(on, tuple(int(i) for i in np.unravel_index(picture[row, column], numbered.shape)))

    down, right = where(-1, 0) - where(0, 0), where(0, -1) - where(0, 0)
    assert down[2] < 0, "the last row lies below the first"
    assert right[1] > 0, "the last column lies behind the first"
    # Both directions stay within a sagittal plane (3.4 degrees off at most), and the distances are the view's.
    assert abs(down[0]) < 0.1 * np.linalg.norm(down)
    assert abs(right[0]) < 0.1 * np.linalg.norm(right)
    assert np.linalg.norm(down) == pytest.approx(view.row_mm * (picture.shape[0] - 1))
    assert np.linalg.norm(right) == pytest.approx(view.column_mm * (picture.shape[1] - 1))


@pytest.mark.parametrize("on", GRIDS.values(), ids=GRIDS)
def test_picture_has_the_proportions_of_the_body(on: Grid) -> None:
    view = SagittalView.of(on)
    picture = view.cut(np.zeros(on.size_xyz[::-1], bool), 0)
    frame = Frame.around(picture, view, margin_mm=5, longest_px=420)
    assert max(frame.height_px, frame.width_px) == 420
    body_mm = picture.shape[0] * view.row_mm / (picture.shape[1] * view.column_mm)
    assert frame.height_px / frame.width_px == pytest.approx(body_mm, rel=0.02)


def test_frame_keeps_a_margin_and_ends_at_the_border() -> None:
    view = SagittalView.of(grid(CHU, (5, 50, 60), (2.0, 1.0, 2.0)))
    mask = np.zeros((60, 50), bool)
    mask[30:32, 2:10] = True
    frame = Frame.around(mask, view, margin_mm=6, longest_px=100)
    assert (frame.top, frame.bottom, frame.left, frame.right) == (27, 35, 0, 16)  # 6 mm are 3 rows or 6 columns
    assert (frame.height_px, frame.width_px) == (100, 100)  # 8 rows of 2 mm, 16 columns of 1 mm


def test_middle_slice_is_that_of_the_reference() -> None:
    view = SagittalView.of(grid(CHALLENGE, (30, 40, 9), (0.34, 0.34, 4.4)))
    mask = np.zeros((9, 40, 30), bool)
    mask[2:7, 5:10, 5:10] = True
    assert view.middle(mask) == 4
    mask[8, 0, 0] = True  # a stray voxel does not move it
    assert view.middle(mask) == 4
    assert view.middle(np.zeros((9, 40, 30), bool)) == 4


def pixels(data_uri: str) -> NDArray[np.uint8]:
    assert data_uri.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(data_uri.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGBA"))


def test_fill_is_half_transparent_in_the_structures_colour() -> None:
    painted = np.array([[0, 1], [2, 9]], np.uint8)
    found = pixels(fill(painted))
    assert found[0, 0, 3] == 0
    assert [tuple(found[p][:3]) for p in ((0, 1), (1, 0), (1, 1))] == [CYCLE[0], CYCLE[1], CYCLE[8 % len(CYCLE)]]
    assert 0 < found[0, 1, 3] < 255


def test_outline_is_the_rim_and_nothing_else() -> None:
    painted = np.zeros((7, 7), np.uint8)
    painted[1:6, 1:6] = 1
    rim = painted.astype(bool)
    rim[2:5, 2:5] = False
    assert (pixels(outline(painted))[..., 3] == np.where(rim, 255, 0)).all()
    assert (pixels(outline(np.ones((3, 3), np.uint8)))[..., 3] == 0).all()


def test_grey_picture_spans_black_to_white() -> None:
    ramp = np.tile(np.linspace(100, 4000, 200, dtype=np.int16), (200, 1))
    frame = Frame(top=0, bottom=200, left=0, right=200, height_px=100, width_px=100)
    found = pixels(grey(ramp, frame))[..., 0]
    assert found.shape == (100, 100)
    assert (found[:, 0] <= 3).all()
    assert (found[:, -1] >= 252).all()
    assert (np.diff(found[50].astype(int)) >= 0).all()
    assert pixels(grey(np.full((200, 200), 7, np.int16), frame)).max() <= 255  # a constant picture divides by nothing


def test_nested_regions_are_painted_by_the_smallest() -> None:
    structures = Structures.of({"whole": [1, 2, 3], "core": [2, 3], "enhancing": 3})
    assert owners(structures) == {1: 0, 2: 1, 3: 2}


def test_structures_that_touch_in_the_challenge_have_different_colours() -> None:
    vertebrae = range(10)  # S, L5 … T9; the disc above structure i is structure 10 + i
    for i in vertebrae:
        touching = {colour(i)} | {colour(d) for d in (9 + i, 10 + i) if 10 <= d <= 18} | {colour(i + 1)} - {colour(10)}
        assert len(touching) >= 3 or i == 9
        for disc in (9 + i, 10 + i):
            assert not 10 <= disc <= 18 or colour(disc) != colour(i)
        assert i == 9 or colour(i) != colour(i + 1)


def test_case_is_drawn_from_the_files_on_disk(tmp_path: Path) -> None:
    tables = write_dataset_on_disk(tmp_path, models={"A": 0, "B": 3}, cases=1)
    placed = {(m, "c0"): s for m, t in zip("AB", tables, strict=True) if (s := read_sources(t)) is not None}
    (overlay,), missing = draw_cases([("c0", (1.0, 0.5))], ["A", "B"], placed)
    assert missing == []
    assert (overlay.slice_number, overlay.slices) == (3, 5)
    truth, (a, b) = pixels(overlay.reference.fill), (pixels(p[2].fill) for p in overlay.predictions if p[2])
    assert truth.shape[:2] == (overlay.height_px, overlay.width_px)
    assert (a == truth).all()
    assert {tuple(c) for c in truth[truth[..., 3] > 0][:, :3]} == {colour(0), colour(1), colour(2)}
    # L5 (index 1) lies above S (index 0), and B lies 3 of 1 mm higher than the reference.
    row = {i: np.flatnonzero((truth[..., :3] == colour(i)).all(-1).any(1) & truth[..., 3].any(1)) for i in (0, 1)}
    assert row[1].max() < row[0].min()
    per_mm = overlay.height_px / 40  # with 20 mm around, the frame is the whole height of 40 mm
    top = {n: np.flatnonzero(p[..., 3].any(1)).min() for n, p in (("truth", truth), ("b", b))}
    assert top["truth"] - top["b"] == pytest.approx(3 * per_mm, abs=1.5)
    names = overlay.reference.names
    assert [n.text for n in names] == ["L5", "L5/S", "S"]  # from top to bottom
    assert all(low.y - high.y >= NAME_PX for high, low in itertools.pairwise(names))
    assert all(truth[n.y, n.x, 3] and not truth[n.y, n.x - 1, 3] for n in (names[0], names[2]))  # at the front border


def test_missing_files_are_told_case_by_case(tmp_path: Path) -> None:
    (table,) = write_dataset_on_disk(tmp_path, models={"A": 1}, cases=2)
    sources = read_sources(table)
    assert sources is not None
    placed = {("A", case): sources for case in ("c0", "c1")}
    (tmp_path / "Dataset501_Fake" / "imagesTs" / "c0_0000.nii.gz").unlink()
    (tmp_path / "A" / "c1.nii.gz").unlink()
    overlays, missing = draw_cases([(c, (0.5,)) for c in ("c0", "c1", "c2")], ["A"], placed)
    assert [o.case for o in overlays] == ["c1"]
    assert overlays[0].predictions == (("A", 0.5, None),)
    assert len(missing) == 2
    assert "c0_0000.nii.gz" in missing[0]
    assert missing[1].startswith("c2: ")


def test_prediction_on_a_cut_out_grid_is_drawn_where_it_lies(tmp_path: Path) -> None:
    (table,) = write_dataset_on_disk(tmp_path, models={"A": 0}, cases=1)
    origin = tuple(np.reshape(CHALLENGE, (3, 3)) @ np.array((4.0, 2.0, 4.4)))
    write_array(
        tmp_path / "A" / "c0.nii.gz",
        spine()[1:, 2:, 4:],
        spacing_xyz_mm=(1.0, 1.0, 4.4),
        origin_xyz_mm=origin,
        direction=CHALLENGE,
    )
    sources = read_sources(table)
    assert sources is not None
    (overlay,), _ = draw_cases([("c0", (1.0,))], ["A"], {("A", "c0"): sources})
    layer = overlay.predictions[0][2]
    assert layer is not None
    assert layer.fill == overlay.reference.fill
