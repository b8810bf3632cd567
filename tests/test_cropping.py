"""A crop and its undoing give back every voxel and every number of the header; nothing else is ever pasted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_spine_ext.data.cropping import (
    Crop,
    crop_background,
    crop_between,
    read_crops,
    restore_folder,
    write_crops,
)
from nnunet_spine_ext.data.geometry import Grid, read_grid, read_image, voxels, write_image
from nnunet_spine_ext.errors import DataError

Change = Callable[[sitk.Image], sitk.Image]

# The real header of a challenge file: oblique, (P, S, R), float32 numbers.
DIRECTION = (
    1.9749123627475042e-08, 0.059441993273634905, -0.9982317612658163,
    0.9999999999999996, 1.9749122953274767e-08, 2.0960110884714696e-08,
    -2.0960111315930527e-08, 0.9982317613839267, 0.05944199525710669,
)  # fmt: skip
SPACING = (0.3448275923728943, 0.3448275923728943, 4.40000057220459)
ORIGIN = (3.135775566101074, -84.90509796142578, -99.62874603271484)


def grid(size_xyz: tuple[int, ...]) -> Grid:
    return Grid(size_xyz=size_xyz, spacing_xyz_mm=SPACING, origin_xyz_mm=ORIGIN, direction=DIRECTION)


def labels(size_xyz: tuple[int, ...], *, seed: int = 0) -> sitk.Image:
    """A label map with a random id 0..19 in every voxel."""
    values = np.random.default_rng(seed).integers(0, 20, size=size_xyz[::-1], dtype=np.uint8)
    return grid(size_xyz).place(values)


def body_in_air(*, body: slice, width: int = 64, noise: float = 0.0) -> sitk.Image:
    """A scan of 6 slices of 40 rows, bright in the columns `body`."""
    rng = np.random.default_rng(1)
    array = np.abs(rng.normal(0, noise, size=(6, 40, width))) if noise else np.zeros((6, 40, width))
    array[:, :, body] = rng.uniform(200, 2000, size=(6, 40, array[:, :, body].shape[2]))
    return grid((width, 40, 6)).place(array.astype(np.int16))


@st.composite
def crops(draw: st.DrawFn) -> Crop:
    number = st.floats(-300, 300, allow_nan=False)
    size = tuple(draw(st.integers(1, 9)) for _ in range(3))
    start = tuple(draw(st.integers(0, whole - 1)) for whole in size)
    box = tuple(draw(st.integers(1, whole - first)) for whole, first in zip(size, start, strict=True))
    angle, tilt = draw(st.floats(-3, 3)), draw(st.floats(-1, 1))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    lean = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    source = Grid(
        size_xyz=size,
        spacing_xyz_mm=tuple(draw(st.floats(0.2, 5.5)) for _ in range(3)),
        origin_xyz_mm=tuple(draw(number) for _ in range(3)),
        direction=tuple(float(x) for x in (turn @ lean).ravel()),
    )
    return Crop(source=source, start_xyz=start, size_xyz=box)


@given(crops())
@settings(max_examples=60, deadline=None)
def test_undo_gives_back_the_header_bit_for_bit_and_every_voxel_of_the_box(crop: Crop) -> None:
    size = crop.source.size_xyz
    values = np.random.default_rng(0).integers(1, 20, size=size[::-1], dtype=np.uint8)
    restored = crop.undo(crop.apply(crop.source.place(values)), fill=77)
    assert Grid.of(restored) == crop.source
    back = voxels(restored)
    for x, y, z in np.ndindex(*size):
        first, count = crop.start_xyz, crop.size_xyz
        inside = all(first[i] <= v < first[i] + count[i] for i, v in enumerate((x, y, z)))
        assert back[z, y, x] == (values[z, y, x] if inside else 77)


@given(crops())
@settings(max_examples=60, deadline=None)
def test_a_crop_survives_json_exactly(crop: Crop) -> None:
    assert Crop.from_json(json.loads(json.dumps(crop.to_json()))) == crop


@given(crops())
@settings(max_examples=60, deadline=None)
def test_cropped_voxels_keep_their_place_in_the_scanner(crop: Crop) -> None:
    whole = crop.source.place(np.zeros(crop.source.size_xyz[::-1], np.uint8))
    box = crop.apply(whole)
    for corner in ((0, 0, 0), tuple(n - 1 for n in crop.size_xyz)):
        there = whole.TransformIndexToPhysicalPoint(tuple(a + b for a, b in zip(corner, crop.start_xyz, strict=True)))
        assert np.allclose(box.TransformIndexToPhysicalPoint(corner), there, rtol=0, atol=1e-9)


@given(crops())
@settings(max_examples=60, deadline=None)
def test_the_crop_is_found_again_from_the_two_grids(crop: Crop) -> None:
    assert crop_between(crop.source, crop.grid) == crop


def test_files_on_disk_come_back_with_the_numbers_of_the_source_file(tmp_path: Path) -> None:
    write_image(labels((48, 20, 4)), tmp_path / "source.nii.gz")
    source = read_image(tmp_path / "source.nii.gz")
    crop = Crop(source=Grid.of(source), start_xyz=(16, 0, 0), size_xyz=(16, 20, 4))
    write_image(crop.apply(source), tmp_path / "box.nii.gz")
    write_image(crop.undo(read_image(tmp_path / "box.nii.gz")), tmp_path / "back.nii.gz")
    found = read_grid(tmp_path / "back.nii.gz")
    assert (found.size_xyz, found.spacing_xyz_mm) == (crop.source.size_xyz, crop.source.spacing_xyz_mm)
    assert found.origin_xyz_mm == crop.source.origin_xyz_mm
    # The file keeps the direction as float32 numbers.
    assert np.allclose(found.direction, crop.source.direction, rtol=0, atol=1e-7)
    expected = voxels(source)
    expected[:, :, :16] = expected[:, :, 32:] = 0
    assert np.array_equal(voxels(read_image(tmp_path / "back.nii.gz")), expected)


def moved(image: sitk.Image, *, offset_mm: tuple[float, float, float]) -> sitk.Image:
    other = sitk.Image(image)
    other.SetOrigin([a + b for a, b in zip(image.GetOrigin(), offset_mm, strict=True)])
    return other


def respaced(image: sitk.Image) -> sitk.Image:
    other = sitk.Image(image)
    other.SetSpacing([1.01 * s for s in image.GetSpacing()])
    return other


def turned(image: sitk.Image) -> sitk.Image:
    other = sitk.Image(image)
    other.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))
    return other


WRONG: dict[str, Change] = {
    "shifted by half a voxel": lambda i: moved(i, offset_mm=(0, SPACING[0] / 2, 0)),
    "shifted by a voxel": lambda i: moved(i, offset_mm=(0, SPACING[0], 0)),
    "one column short": lambda i: i[1:, :, :],
    "resampled": respaced,
    "turned": turned,
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_a_map_that_does_not_lie_on_the_box_is_refused(change: Change, tmp_path: Path) -> None:
    source = labels((32, 10, 3))
    crop = Crop(source=Grid.of(source), start_xyz=(8, 0, 0), size_xyz=(16, 10, 3))
    wrong = change(crop.apply(source))
    with pytest.raises(ValueError, match="instead of"):
        crop.undo(wrong)
    write_image(wrong, tmp_path / "case1.nii.gz")
    before = (tmp_path / "case1.nii.gz").read_bytes()
    with pytest.raises(DataError, match=r"case1\.nii\.gz.*lies neither"):
        restore_folder(tmp_path, {"case1": crop})
    assert (tmp_path / "case1.nii.gz").read_bytes() == before


@pytest.mark.parametrize(
    "change", [WRONG["shifted by half a voxel"], respaced, turned], ids=["half a voxel", "resampled", "turned"]
)
def test_no_crop_is_invented_for_a_grid_that_is_not_made_of_whole_voxels(change: Change) -> None:
    source = labels((32, 10, 3))
    box = Crop(source=Grid.of(source), start_xyz=(8, 0, 0), size_xyz=(16, 10, 3)).apply(source)
    with pytest.raises(ValueError, match=r"instead of|whole voxel"):
        crop_between(Grid.of(source), Grid.of(change(box)))


def test_no_crop_is_invented_for_a_box_that_reaches_out_of_the_image() -> None:
    source = grid((32, 10, 3))
    out = moved(source.place(np.zeros((3, 10, 32), np.uint8)), offset_mm=(0, 2 * SPACING[0], 0))
    with pytest.raises(ValueError, match="does not fit"):
        crop_between(source, Grid.of(out))


def test_only_images_of_the_source_grid_are_cropped() -> None:
    crop = Crop(source=grid((32, 10, 3)), start_xyz=(8, 0, 0), size_xyz=(16, 10, 3))
    with pytest.raises(ValueError, match="image to crop"):
        crop.apply(labels((33, 10, 3)))


@pytest.mark.parametrize(("start", "size"), [((-1, 0, 0), (4, 4, 4)), ((0, 0, 0), (0, 4, 4)), ((2, 0, 0), (3, 4, 4))])
def test_a_box_outside_the_image_is_refused(start: tuple[int, ...], size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Crop(source=grid((4, 4, 4)), start_xyz=start, size_xyz=size)


# --- the background -------------------------------------------------------------------------------------------------


def kept(crop: Crop) -> range:
    return range(crop.start_xyz[0], crop.start_xyz[0] + crop.size_xyz[0])


def test_exact_zeros_left_and_right_are_removed_and_the_other_axes_kept() -> None:
    crop = crop_background(body_in_air(body=slice(21, 43)), multiple_of=1, margin_mm=0)
    assert (crop.start_xyz, crop.size_xyz) == ((21, 0, 0), (22, 40, 6))


def test_margin_and_multiple_widen_the_box_around_the_body() -> None:
    crop = crop_background(body_in_air(body=slice(21, 43)), multiple_of=16, margin_mm=1.0)
    # 22 columns of body + 2 x 3 of margin (1 mm / 0.345 mm, rounded up) = 28, the next multiple of 16 is 32.
    assert crop.size_xyz[0] == 32
    assert set(range(18, 46)) <= set(kept(crop))


def test_the_published_width_shrinks_as_in_paper_004() -> None:
    """880 columns with the outer quarters empty: 440 of body, 464 kept with the default margin and multiple."""
    array = np.zeros((2, 30, 880), np.int16)
    array[:, :, 220:660] = 500
    assert crop_background(grid((880, 30, 2)).place(array)).size_xyz[0] == 464


@pytest.mark.parametrize(("body", "side"), [(slice(0, 20), 0), (slice(44, 64), 1)], ids=["left", "right"])
def test_a_body_at_the_edge_keeps_the_multiple_inside_the_image(body: slice, side: int) -> None:
    crop = crop_background(body_in_air(body=body))
    assert crop.size_xyz[0] == 32
    assert (crop.start_xyz[0], crop.start_xyz[0] + 32)[side] == (0, 64)[side]


def test_noise_and_stray_voxels_do_not_hide_the_background() -> None:
    image = body_in_air(body=slice(21, 43), noise=4)
    array = voxels(image)
    assert (array[:, :, :21] > 0).any()
    crop = crop_background(image, multiple_of=1, margin_mm=0, stray_share=0.01)
    array[2, 7, 3] = array[4, 9, 60] = 1900
    assert crop_background(Grid.of(image).place(array), multiple_of=1, margin_mm=0, stray_share=0.01) == crop
    assert list(kept(crop)) == list(range(21, 43))


@pytest.mark.parametrize("noise", [0, 1, 5, 20, 60, 200])
def test_whatever_the_noise_the_body_is_never_cut(noise: float) -> None:
    assert set(range(21, 43)) <= set(kept(crop_background(body_in_air(body=slice(21, 43), noise=noise))))


def test_a_thin_part_of_the_body_in_one_slice_is_kept() -> None:
    image = body_in_air(body=slice(21, 43))
    array = voxels(image)
    array[3, 10:14, 12:21] = 300
    assert set(range(12, 43)) <= set(kept(crop_background(Grid.of(image).place(array))))


@pytest.mark.parametrize("value", [0, 500], ids=["nothing but air", "no air"])
def test_nothing_is_cut_when_everything_or_nothing_is_empty(value: int) -> None:
    image = grid((30, 8, 3)).place(np.full((3, 8, 30), value, np.int16))
    crop = crop_background(image)
    assert (crop.start_xyz, crop.size_xyz) == ((0, 0, 0), (30, 8, 3))
    assert crop.grid == crop.source


def test_any_axis_can_be_shortened() -> None:
    array = np.zeros((12, 8, 30), np.int16)
    array[4:9] = 100
    crop = crop_background(grid((30, 8, 12)).place(array), axis_xyz=2, multiple_of=1, margin_mm=0)
    assert (crop.start_xyz, crop.size_xyz) == ((0, 0, 4), (30, 8, 5))


# --- files ----------------------------------------------------------------------------------------------------------


def test_crops_file_gives_back_what_was_written(tmp_path: Path) -> None:
    crops = {
        "case7": Crop(source=grid((32, 10, 3)), start_xyz=(8, 0, 0), size_xyz=(16, 10, 3)),
        "case12": Crop(source=grid((9, 9, 9)), start_xyz=(0, 0, 0), size_xyz=(9, 9, 9)),
    }
    write_crops(crops, tmp_path / "crops.json")
    assert read_crops(tmp_path / "crops.json") == crops
    assert [p.name for p in tmp_path.iterdir()] == ["crops.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"case1": {}}', '{"case1": 3}', '{"case1": {"source": 1, "start_xyz": 0, "size_xyz": 0}}']
)
def test_a_damaged_crops_file_is_one_clear_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "crops.json").write_text(text)
    with pytest.raises(DataError, match="not a table of crops"):
        read_crops(tmp_path / "crops.json")


def test_a_missing_crops_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"crops\.json"):
        read_crops(tmp_path / "crops.json")


def test_restoring_a_folder_twice_changes_nothing_the_second_time(tmp_path: Path) -> None:
    sources = {case: labels((32, 10, 3), seed=seed) for seed, case in enumerate(("case1", "case2", "other"))}
    crops = {
        case: Crop(source=Grid.of(sources[case]), start_xyz=(8, 0, 0), size_xyz=(16, 10, 3))
        for case in ("case1", "case2")
    }
    write_image(crops["case1"].apply(sources["case1"]), tmp_path / "case1.nii.gz")
    write_image(sources["case2"], tmp_path / "case2.nii.gz")
    write_image(sources["other"], tmp_path / "other.nii.gz")
    untouched = {name: (tmp_path / name).read_bytes() for name in ("case2.nii.gz", "other.nii.gz")}

    assert restore_folder(tmp_path, crops) == [tmp_path / "case1.nii.gz"]
    once = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert restore_folder(tmp_path, crops) == []
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == once
    assert untouched.items() <= once.items()

    expected = voxels(sources["case1"])
    expected[:, :, :8] = expected[:, :, 24:] = 0
    assert np.array_equal(voxels(read_image(tmp_path / "case1.nii.gz")), expected)
    assert not read_grid(tmp_path / "case1.nii.gz").differences(Grid.of(sources["case1"]), tolerance_mm=0)


def test_one_misplaced_map_leaves_the_whole_folder_as_it_was(tmp_path: Path) -> None:
    source = labels((32, 10, 3))
    crop = Crop(source=Grid.of(source), start_xyz=(8, 0, 0), size_xyz=(16, 10, 3))
    write_image(crop.apply(source), tmp_path / "case1.nii.gz")
    for case in ("case2", "case3"):
        write_image(moved(crop.apply(source), offset_mm=(0, 1, 0)), tmp_path / f"{case}.nii.gz")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(DataError) as caught:
        restore_folder(tmp_path, dict.fromkeys(("case1", "case2", "case3"), crop))
    assert [f.file.name for f in caught.value.findings] == ["case2.nii.gz", "case3.nii.gz"]
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_the_real_mask_loses_only_background(test_data: Path) -> None:
    mask = read_image(test_data / "mrspineseg_mask_case1" / "mask_case1.nii.gz")
    crop = crop_background(mask)
    assert crop.size_xyz[0] % 16 == 0
    assert crop.size_xyz[0] < 400
    restored = crop.undo(crop.apply(mask))
    assert Grid.of(restored) == Grid.of(mask)
    assert np.array_equal(voxels(restored), voxels(mask))
