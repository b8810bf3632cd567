"""Motion and ghosting against slow, explicit numpy versions; blur and noise against their definitions."""

from __future__ import annotations

import math
import pickle
from itertools import product

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from scipy.ndimage import map_coordinates

from nnunet_spine_ext.training.artefacts import (
    BlurWidth,
    GhostingTransform,
    MotionTransform,
    Pose,
    displace,
    rotation_matrix,
)

STILL = Pose(rotation_degrees=(0.0,), shift_mm=(0.0, 0.0))


def image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def dft(lines: int) -> tuple[np.ndarray, np.ndarray]:
    """The signed frequency of each line, lowest first, and the matrix of the discrete Fourier transform."""
    frequencies = np.arange(lines) - lines // 2
    return frequencies, np.exp(-2j * np.pi * np.outer(frequencies, np.arange(lines)) / lines)


def displaced_slowly(
    plane: np.ndarray, degrees: float, shift_mm: tuple[float, float], spacing: tuple[float, float]
) -> np.ndarray:
    """Voxel by voxel, in mm."""
    rows, columns = plane.shape
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    result = np.empty_like(plane)
    for i, j in product(range(rows), range(columns)):
        y, x = (i - (rows - 1) / 2) * spacing[0], (j - (columns - 1) / 2) * spacing[1]
        source_y, source_x = cos * y - sin * x + shift_mm[0], sin * y + cos * x + shift_mm[1]
        at = [[source_y / spacing[0] + (rows - 1) / 2], [source_x / spacing[1] + (columns - 1) / 2]]
        result[i, j] = map_coordinates(plane, at, order=1, mode="nearest")[0]
    return result


# ---- motion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", [(12, 15), (9, 8)])
def test_motion_is_k_space_of_displaced_images_line_by_line(axis: int, size: tuple[int, int]) -> None:
    spacing, poses = (1.5, 0.5), [((7.0,), (2.0, -1.0)), ((-12.0,), (0.25, 1.5))]
    slices = image(1, 2, *size)
    transform = MotionTransform((1, 2), spacing_mm=spacing, movements=2)
    # The centre (line 6 or 7 of 12 and 15, 4 of 9 and 8) belongs to the second part.
    starts = [0, 2, size[axis] - 3]
    found = transform._apply_to_image(
        slices.clone(), axis=axis, starts=starts, poses=[Pose(rotation_degrees=d, shift_mm=s) for d, s in poses]
    )
    for z in range(2):
        plane = slices[0, z].numpy()
        seen = [displaced_slowly(plane, d[0], s, spacing) for d, s in poses]
        _, matrix = dft(size[axis])
        composed = np.empty(size, dtype=complex)
        for line in range(size[axis]):
            source = seen[0] if line < starts[1] else plane if line < starts[2] else seen[1]
            spectrum = np.tensordot(matrix[line], source, axes=(0, axis))
            composed[(line, slice(None)) if axis == 0 else (slice(None), line)] = spectrum
        inverse = np.conj(matrix).T / size[axis]
        expected = np.moveaxis(np.tensordot(inverse, composed, axes=(1, axis)), 0, axis).real
        np.testing.assert_allclose(found[0, z].numpy(), expected, atol=1e-9)


def test_motion_without_displacement_changes_nothing() -> None:
    slices = image(2, 3, 8, 7)
    transform = MotionTransform((1, 2), spacing_mm=(1.0, 1.0))
    found = transform._apply_to_image(slices.clone(), axis=1, starts=[0, 1, 5], poses=[STILL, STILL])
    torch.testing.assert_close(found, slices)


def test_contrast_and_place_belong_to_the_image_at_rest() -> None:
    # The mean over the phase-encoding axis is the central line of k-space: no pose may change it.
    slices = image(1, 1, 16, 16)
    transform = MotionTransform((1, 2), spacing_mm=(1.0, 1.0), rotation_degrees=30, shift_mm=5, movements=3)
    for seed in range(20):
        torch.manual_seed(seed)
        parameters = transform.get_parameters(slices)
        found = transform._apply_to_image(slices.clone(), **parameters)
        dim = 2 + int(parameters["axis"])  # type: ignore[call-overload]
        torch.testing.assert_close(found.mean(dim), slices.mean(dim))


def test_slices_move_together_and_do_not_mix() -> None:
    slices = image(1, 4, 10, 10)
    transform = MotionTransform((1, 2), spacing_mm=(1.0, 1.0))
    parameters = {"axis": 0, "starts": [0, 3], "poses": [Pose(rotation_degrees=(5.0,), shift_mm=(1.0, 2.0))]}
    together = transform._apply_to_image(slices.clone(), **parameters)
    for z in range(4):
        torch.testing.assert_close(
            transform._apply_to_image(slices[:, z : z + 1].clone(), **parameters), together[:, z : z + 1]
        )


def test_plane_may_be_any_two_axes() -> None:
    slices = image(1, 4, 10, 9)
    parameters = {"axis": 1, "starts": [0, 3], "poses": [Pose(rotation_degrees=(5.0,), shift_mm=(1.0, 2.0))]}
    first = MotionTransform((1, 2), spacing_mm=(1.0, 2.0))._apply_to_image(slices.clone(), **parameters)
    last = MotionTransform((0, 1), spacing_mm=(1.0, 2.0))._apply_to_image(slices.movedim(1, 3).clone(), **parameters)
    torch.testing.assert_close(last.movedim(3, 1), first)


def test_volume_is_displaced_by_three_angles_and_shifts() -> None:
    volume = image(1, 5, 6, 7)
    spacing, degrees, shift = (2.0, 1.0, 0.5), (10.0, -20.0, 30.0), (1.0, -0.5, 0.25)
    found = displace(volume, Pose(rotation_degrees=degrees, shift_mm=shift), spacing_mm=spacing)[0].numpy()
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one = np.eye(3)
        i, j = [(1, 2), (0, 2), (0, 1)][axis]
        one[i, i], one[i, j], one[j, i], one[j, j] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = one @ turn
    centre = (np.array(volume.shape[1:]) - 1) / 2
    for index in product(range(5), range(6), range(7)):
        source = (turn @ ((np.array(index) - centre) * spacing) + shift) / spacing + centre
        expected = map_coordinates(volume[0].numpy(), source[:, None], order=1, mode="nearest")[0]
        assert found[index] == pytest.approx(expected, abs=1e-9)


def test_rotations_keep_lengths() -> None:
    for degrees in [(33.0,), (10.0, 50.0, -70.0)]:
        matrix = rotation_matrix(degrees)
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix), dtype=torch.float64))
        assert torch.linalg.det(matrix) == pytest.approx(1.0)


def test_poses_stay_in_their_range_and_times_in_order() -> None:
    transform = MotionTransform((1, 2), spacing_mm=(1.0, 1.0), rotation_degrees=10, shift_mm=4, movements=2)
    torch.manual_seed(0)
    drawn = [transform.get_parameters(image(1, 3, 20, 30)) for _ in range(300)]
    poses: list[Pose] = [pose for one in drawn for pose in one["poses"]]  # type: ignore[attr-defined]
    angles = [abs(pose.rotation_degrees[0]) for pose in poses]
    shifts = [abs(shift) for pose in poses for shift in pose.shift_mm]
    assert 9 < max(angles) <= 10
    assert 3.6 < max(shifts) <= 4
    assert {one["axis"] for one in drawn} == {0, 1}
    for one in drawn:
        starts: list[int] = one["starts"]  # type: ignore[assignment]
        assert starts == sorted(starts)
        assert len(starts) == 3
        assert starts[-1] < (20, 30)[int(one["axis"])]  # type: ignore[call-overload]


# ---- ghosting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [12, 13])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("ghosts", "intensity", "restored"), [(4, 0.75, 0.02), (2, 1.0, 0.4), (5, 0.5, 0.0)])
def test_ghosting_weakens_every_nth_line_but_the_centre(
    lines: int, axis: int, ghosts: int, intensity: float, restored: float
) -> None:
    size = [4, 5, 6]
    size[axis] = lines
    volume = image(2, *size)
    found = GhostingTransform((axis,), restored=restored)._apply_to_image(
        volume.clone(), axis=axis, ghosts=ghosts, intensity=intensity
    )
    frequencies, matrix = dft(lines)
    weight = [
        1 - intensity if k % ghosts == 0 and k != 0 and abs(k) > restored * lines / 2 else 1.0 for k in frequencies
    ]
    operator = (np.conj(matrix).T / lines) @ np.diag(weight) @ matrix
    expected = np.moveaxis(np.tensordot(operator, volume.numpy(), axes=(1, axis + 1)), 0, axis + 1)
    np.testing.assert_allclose(expected.imag, 0, atol=1e-12)
    np.testing.assert_allclose(found.numpy(), expected.real, atol=1e-12)


def test_a_point_gets_ghosts_at_equal_distances() -> None:
    point = torch.zeros(1, 24, 3, dtype=torch.float64)
    point[0, 5, 1] = 1
    found = GhostingTransform((0,), restored=0.0)._apply_to_image(point.clone(), axis=0, ghosts=4, intensity=1.0)
    # A comb that takes out every 4th line leaves the point, less a quarter spread over 4 places, plus the mean.
    expected = point.clone()
    expected[0, [5, 11, 17, 23], 1] -= 1 / 4
    expected[0, :, 1] += 1 / 24
    torch.testing.assert_close(found, expected)


def test_ghosts_keep_the_mean_and_an_intensity_of_zero_the_image() -> None:
    volume = image(1, 11, 12)
    transform = GhostingTransform((0, 1))
    found = transform._apply_to_image(volume.clone(), axis=1, ghosts=2, intensity=1.0)
    assert not torch.allclose(found, volume)
    torch.testing.assert_close(found.mean(2), volume.mean(2))
    torch.testing.assert_close(transform._apply_to_image(volume.clone(), axis=1, ghosts=2, intensity=0.0), volume)


def test_ghosts_are_drawn_in_their_ranges() -> None:
    transform = GhostingTransform((1, 2), ghosts=(4, 10), intensity=(0.5, 1.0))
    torch.manual_seed(0)
    drawn = [transform.get_parameters() for _ in range(400)]
    assert {one["ghosts"] for one in drawn} == set(range(4, 11))
    assert {one["axis"] for one in drawn} == {1, 2}
    strengths = [float(one["intensity"]) for one in drawn]  # type: ignore[arg-type]
    assert 0.5 <= min(strengths) < 0.52
    assert 0.98 < max(strengths) <= 1


# ---- blur --------------------------------------------------------------------------------------------------------


def test_blur_is_in_mm_and_in_the_plane_only() -> None:
    width = BlurWidth((1, 2), (0.5, 2.0), 4.0)
    np.random.seed(0)
    shape = (1, 6, 200, 200)
    rows = [width(shape, dim=2) for _ in range(300)]
    columns = [width(shape, dim=3) for _ in range(300)]
    assert 7.5 < max(rows) <= 8
    assert 1.8 < max(columns) <= 2
    assert 0 < min(columns) < 0.05
    volume = torch.randn(1, 6, 40, 40)
    blurred = GaussianBlurTransform(blur_sigma=width)(image=volume.clone())["image"]
    assert not torch.allclose(blurred, volume)
    changed = volume.clone()
    changed[:, 0] = 0
    np.random.seed(1)
    one = GaussianBlurTransform(blur_sigma=width)(image=volume.clone())["image"]
    np.random.seed(1)
    other = GaussianBlurTransform(blur_sigma=width)(image=changed)["image"]
    torch.testing.assert_close(one[:, 1:], other[:, 1:])


@pytest.mark.parametrize("edge", [1, 2, 3, 4, 7])
def test_blur_fits_into_small_windows(edge: int) -> None:
    transform = GaussianBlurTransform(blur_sigma=BlurWidth((0, 1), (0.1, 0.1), 5.0))
    for _ in range(20):
        assert torch.isfinite(transform(image=torch.randn(1, edge, 9))["image"]).all()


# ---- all ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transform",
    [
        MotionTransform((1, 2), spacing_mm=(1.0, 1.0)),
        GhostingTransform((1, 2)),
        MotionTransform((0, 1, 2), spacing_mm=(1.0, 1.0, 1.0)),
        GhostingTransform((0, 1, 2)),
    ],
    ids=["motion", "ghosting", "motion in space", "ghosting in space"],
)
def test_labels_stay_and_image_keeps_its_kind(transform: MotionTransform | GhostingTransform) -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (1, 24, 24, 24))
    sample = {"image": torch.randn(2, 24, 24, 24), "segmentation": labels.clone()}
    before = sample["image"].clone()
    result = pickle.loads(pickle.dumps(transform))(**sample)
    assert torch.equal(result["segmentation"], labels)
    assert result["image"].shape == before.shape
    assert result["image"].dtype == torch.float32
    assert result["image"].is_contiguous()
    assert not torch.allclose(result["image"], before, atol=1e-3)
    assert torch.isfinite(result["image"]).all()
