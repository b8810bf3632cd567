"""The phantom has the challenge's folders, headers and label rules, and its anatomy is in the right order."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from nnunet_spine_ext.cli import app, pages
from nnunet_spine_ext.data.cropping import crop_background
from nnunet_spine_ext.data.geometry import Array, read_grid, read_image, voxels
from nnunet_spine_ext.data.phantom import write_phantom
from nnunet_spine_ext.errors import DataError

# The challenge's table, written out again.
S, L5, L4, L3, L2, L1, T12, T11, T10, T9 = range(1, 11)
VERTEBRAE = [S, L5, L4, L3, L2, L1, T12, T11, T10, T9]
DISCS = [11, 12, 13, 14, 15, 16, 17, 18, 19]  # disc i lies between vertebra i and vertebra i + 1 of the list above
COLUMN = [v for pair in zip(VERTEBRAE, [*DISCS, 0], strict=True) for v in pair][:-1]
ALWAYS = set(COLUMN[: COLUMN.index(T12) + 1])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten training and two test cases of 8 x 64 x 64."""
    out = tmp_path_factory.mktemp("phantom64")
    write_phantom(out, cases=10, test_cases=2, size=64, slices=8)
    return out


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training cases of 12 x 128 x 128."""
    out = tmp_path_factory.mktemp("phantom128")
    write_phantom(out, cases=3, test_cases=0, size=128, slices=12, seed=3)
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def masks(folder: Path) -> list[Array]:
    return [voxels(read_image(p)) for p in sorted((folder / "train/Mask").iterdir())]


def test_names_and_folders_are_the_challenges(small: Path) -> None:
    training, test = (2, 5, 6, 7, 8, 9, 10, 12, 13, 14), (1, 3)
    expected = {"phantom.json"}
    expected |= {f"train/MR/Case{i}.nii.gz" for i in training}
    expected |= {f"train/Mask/mask_case{i}.nii.gz" for i in training}
    expected |= {f"test1/MR/Case{i}.nii.gz" for i in test}
    expected |= {f"test1_reference/mask_case{i}.nii.gz" for i in test}
    assert set(files(small)) == expected


def test_headers_are_oblique_sform_only_and_sagittal(small: Path) -> None:
    for path in sorted(small.rglob("*.nii.gz")):
        image = nib.load(path)
        assert image.shape == (64, 64, 8)
        assert image.get_data_dtype() == (np.int16 if path.name.startswith("Case") else np.uint16)
        assert nib.aff2axcodes(image.affine) == ("P", "S", "R")
        assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (0, 1)
        assert np.allclose(image.header.get_zooms(), (0.3448276 * 880 / 64, 0.3448276 * 880 / 64, 4.4), atol=1e-5)
        cosines = image.affine[:3, :3] / image.header.get_zooms()
        assert np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-5)
        assert 0.99 < np.abs(cosines).max(axis=0).min() < np.cos(np.radians(0.9))


def test_every_mask_lies_on_its_image_and_no_two_cases_share_a_grid(small: Path) -> None:
    origins = set()
    for image, mask in (("train/MR", "train/Mask"), ("test1/MR", "test1_reference")):
        for path in (small / image).iterdir():
            grid = read_grid(path)
            assert not read_grid(small / mask / f"mask_{path.name.lower()}").differences(grid, tolerance_mm=0)
            origins.add(grid.origin_xyz_mm)
    assert len(origins) == 12


def test_labels_start_at_the_sacrum_and_end_where_the_view_is_cut(small: Path) -> None:
    for mask in masks(small):
        present = set(np.unique(mask).tolist()) - {0}
        assert present >= ALWAYS
        assert present == set(COLUMN[: len(present)])


def test_one_of_ten_cases_shows_t9_and_half_end_at_t11(small: Path) -> None:
    tops = [COLUMN[len(np.unique(mask)) - 2] for mask in masks(small)]
    assert tops.count(T9) == 1
    assert tops.count(T11) == 5


def test_rare_labels_are_about_as_rare_as_in_the_challenge(tmp_path: Path) -> None:
    """Over the first sixty cases, by the table that decides it (rendering sixty would only repeat the test above)."""
    from nnunet_spine_ext.data import phantom, phantom_anatomy

    reach = [COLUMN.index(phantom_anatomy.LABEL_OF[top]) for top in phantom._tops(0, 0, 60)]
    for label, of_172 in ((T9, 8), (19, 13), (T10, 44), (18, 64), (T11, 162), (17, 167), (T12, 171)):
        share = np.mean([r >= COLUMN.index(label) for r in reach])
        assert share == pytest.approx(of_172 / 172, abs=0.06), label


def body(mask: Array, label: int) -> Array:
    """Voxels (z, y, x) of a structure in the three middle slices, in front of the canal: bodies without arches."""
    middle = mask.shape[0] // 2
    points = np.argwhere(mask[middle - 1 : middle + 2] == label)
    return points[points[:, 2] <= np.percentile(np.argwhere(np.isin(mask, DISCS))[:, 2], 99)]


@pytest.mark.parametrize("folder", ["small", "larger"])
def test_structures_follow_one_another_along_the_spine(folder: str, request: pytest.FixtureRequest) -> None:
    for mask in masks(request.getfixturevalue(folder)):
        heights = [body(mask, label)[:, 1].mean() for label in COLUMN if (mask == label).any()]
        # Rows count upwards; the column lists vertebrae and the discs between them from below.
        assert len(heights) >= len(ALWAYS)
        assert (np.diff(heights) > 0).all()


def test_bodies_and_discs_have_the_size_of_an_adults(larger: Path) -> None:
    mm = 0.3448276 * 880 / 128
    for mask in masks(larger):
        l3 = body(mask, L3)
        _, heights = np.unique(l3[:, 2], return_counts=True)
        inside = heights > heights.max() / 2  # without a pedicle that the window caught
        assert 28 < inside.sum() * mm < 44  # depth of the body
        assert 18 < np.median(heights[inside]) / 3 * mm < 32  # its height, over three slices
        spacing = body(mask, L2)[:, 1].mean() - l3[:, 1].mean()
        assert 26 < spacing * mm < 42
        sacrum = np.argwhere(mask == S)
        width = [np.ptp(sacrum[sacrum[:, 1] == row, 2]) for row in (sacrum[:, 1].max() - 6, 0)]
        assert width[0] > width[1] > 0  # tapered


def test_lateral_slices_show_less_of_the_bodies_and_no_spinous_process(larger: Path) -> None:
    for mask in masks(larger):
        bones = (mask >= L5) & (mask <= T9)
        assert bones[0].sum() < bones[6].sum()
        reach = [np.argwhere((mask[z] >= L4) & (mask[z] <= L2))[:, 1].max() for z in (1, 5, 6)]
        assert max(reach[1:]) > reach[0]


def test_the_outer_quarters_are_zero_and_the_rest_is_a_scan(larger: Path) -> None:
    for path in (larger / "train/MR").iterdir():
        image = voxels(read_image(path))
        assert not image[:, :, :32].any()
        assert not image[:, :, 96:].any()
        assert image.min() == 0
        assert 1500 < image.max() <= 4095
        assert 0.3 < (image > 0).mean() <= 0.5


def test_cropping_the_background_loses_no_labelled_voxel(larger: Path) -> None:
    for path in (larger / "train/MR").iterdir():
        crop = crop_background(read_image(path))
        mask = read_image(larger / "train/Mask" / f"mask_{path.name.lower()}")
        assert crop.size_xyz[0] <= 80
        assert np.array_equal(voxels(crop.undo(crop.apply(mask))), voxels(mask))


def test_no_threshold_finds_the_structures(larger: Path) -> None:
    for path in (larger / "train/MR").iterdir():
        image = voxels(read_image(path))
        truth = voxels(read_image(larger / "train/Mask" / f"mask_{path.name.lower()}")) > 0
        levels = np.percentile(image[image > 0], np.arange(0, 100, 5))
        dice = [
            2 * (truth & found).sum() / (truth.sum() + found.sum())
            for low in levels
            for high in [*levels, 5000]
            if low < high
            for found in [(image > low) & (image <= high)]
        ]
        assert max(dice) < 0.65


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones(tmp_path: Path, small: Path) -> None:
    write_phantom(tmp_path / "again", cases=2, test_cases=1, size=64, slices=8)
    write_phantom(tmp_path / "other", cases=2, test_cases=1, size=64, slices=8, seed=1)
    again, other, first = files(tmp_path / "again"), files(tmp_path / "other"), files(small)
    # `small` has more cases: a case does not depend on how many there are.
    assert len(again) == 7
    assert all(first[name] == content for name, content in again.items())
    assert all(other[name] != content for name, content in again.items())


def test_a_second_call_keeps_finished_cases_and_makes_missing_ones(tmp_path: Path) -> None:
    write_phantom(tmp_path, cases=2, test_cases=1, size=64, slices=8)
    whole = files(tmp_path)
    (tmp_path / "train/MR/Case5.nii.gz").unlink()
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*case2*") if p.is_file()} | {
        p: p.stat().st_mtime_ns for p in tmp_path.rglob("Case[12].nii.gz")
    }
    assert len(kept) == 3
    write_phantom(tmp_path, cases=2, test_cases=1, size=64, slices=8)
    assert files(tmp_path) == whole
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    write_phantom(tmp_path, cases=3, test_cases=1, size=64, slices=8)
    assert {name: content for name, content in files(tmp_path).items() if name in whole} == whole
    assert (tmp_path / "train/MR/Case6.nii.gz").is_file()


def test_a_folder_of_other_settings_is_refused_and_left_alone(small: Path) -> None:
    before = files(small)
    with pytest.raises(DataError, match=r"phantom\.json.*made with"):
        write_phantom(small, cases=10, size=128, slices=8)
    assert files(small) == before


@pytest.mark.parametrize("wrong", [{"size": 63}, {"size": 1025}, {"slices": 7}, {"slices": 16}, {"seed": -1}])
def test_numbers_out_of_range_are_refused_before_anything_is_written(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))} must"):
        write_phantom(tmp_path / "out", cases=1, **wrong)
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_phantom(tmp_path / "file" / "out", cases=1, size=64, slices=8)


def test_the_published_size_has_the_published_pixel(tmp_path: Path) -> None:
    write_phantom(tmp_path, cases=1, test_cases=0, size=880, slices=8)
    grid = read_grid(tmp_path / "train/MR/Case2.nii.gz")
    assert grid.size_xyz == (880, 880, 8)
    assert np.allclose(grid.spacing_xyz_mm, (0.3448276, 0.3448276, 4.4), atol=1e-6)
    crop = crop_background(read_image(tmp_path / "train/MR/Case2.nii.gz"))
    assert 320 <= crop.size_xyz[0] <= 464


def test_the_command_writes_the_phantom(tmp_path: Path) -> None:
    pages.register(app)
    arguments = ["phantom", str(tmp_path / "out"), "--cases", "1", "--test-cases", "0", "--size", "64", "--slices", "8"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert "1 training and 0 test cases" in result.output
    assert (tmp_path / "out/train/MR/Case2.nii.gz").is_file()
    assert CliRunner().invoke(app, ["phantom", str(tmp_path), "--cases", "1", "--size", "32"]).exit_code == 2
