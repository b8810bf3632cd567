"""Perturbations against their definitions, written out slowly."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from nnunet_spine_ext.benchmark.curves.formulas import Frame, add_motion
from nnunet_spine_ext.benchmark.curves.perturbations import PERTURBATIONS, perturb
from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.evaluation.perturbation_facts import PERTURBATION_FACTS

THICK = (4.0, 1.5, 0.5)
"""Slices across the first axis."""


def image(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(100, 900, shape).astype(np.float32)


def worse(
    array: NDArray[np.generic],
    perturbation: str,
    strength: float,
    *,
    spacing: tuple[float, ...] = THICK,
    case: str = "c1",
    channel: int = 0,
    seed: int = 0,
) -> NDArray[np.generic]:
    return perturb(
        array,
        spacing_zyx_mm=spacing,
        perturbation=perturbation,
        strength=strength,
        case=case,
        channel=channel,
        seed=seed,
    )


EVERY = [(facts.key, strength) for facts in PERTURBATION_FACTS for strength in facts.strengths]


def test_every_row_of_the_table_has_a_formula() -> None:
    assert list(PERTURBATIONS) == [facts.key for facts in PERTURBATION_FACTS]
    assert all(key == perturbation.facts.key for key, perturbation in PERTURBATIONS.items())


def test_noise_has_the_strengths_of_paper_004() -> None:
    assert PERTURBATIONS["noise"].facts.strengths == (10, 30, 50, 70, 90)


@pytest.mark.parametrize(("key", "strength"), EVERY)
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64])
def test_type_and_shape_stay_and_values_change(key: str, strength: float, dtype: type[np.generic]) -> None:
    before = (image(6, 20, 24) / 4).astype(dtype)
    kept = before.copy()
    found = worse(before, key, strength)
    assert (found.dtype, found.shape) == (before.dtype, before.shape)
    assert np.array_equal(before, kept)
    assert not np.array_equal(found, before)


@pytest.mark.parametrize("key", PERTURBATIONS)
def test_neutral_strength_changes_nothing(key: str) -> None:
    before = image(4, 9, 10)
    assert np.array_equal(worse(before, key, PERTURBATIONS[key].facts.neutral), before)


@pytest.mark.parametrize(("key", "strength"), EVERY)
def test_same_case_gives_the_same_bytes(key: str, strength: float) -> None:
    before = image(4, 16, 18).astype(np.int16)
    assert np.array_equal(worse(before, key, strength), worse(before, key, strength))


@pytest.mark.parametrize("key", ["noise", "bias", "motion"])
def test_other_cases_channels_and_seeds_are_disturbed_otherwise(key: str) -> None:
    before, strength = image(4, 16, 18), PERTURBATIONS[key].facts.strengths[-1]
    found = [
        worse(before, key, strength, case=case, channel=channel, seed=seed)
        for case, channel, seed in (("c1", 0, 0), ("c2", 0, 0), ("c1", 1, 0), ("c1", 0, 1))
    ]
    assert all(not np.array_equal(found[i], found[j]) for i in range(4) for j in range(i))


@pytest.mark.parametrize("key", ["noise", "blur", "bias", "motion", "ghosting"])
def test_stronger_is_farther_from_the_image(key: str) -> None:
    # One disturbance grows along a curve. (Averaged slices need not: 3 can be unluckier than 4.)
    smooth = np.add.outer(np.add.outer(np.zeros(4), np.sin(np.arange(24) / 3)), np.cos(np.arange(24) / 4))
    before = (500 + 200 * smooth).astype(np.float32)
    facts = PERTURBATIONS[key].facts
    distances = [float(np.abs(worse(before, key, s, spacing=(4, 1, 1)) - before).mean()) for s in facts.strengths]
    assert distances == sorted(distances)
    assert distances[-1] > 1.5 * distances[0] > 0


# ---- noise -------------------------------------------------------------------------------------------------------


def test_noise_has_k_grey_levels_of_255() -> None:
    # 99 % of the image between 200 and 1200 HU say: a grey level is 1000 / 255. In the middle nothing is clipped.
    before = np.full((10, 100, 100), 700.0, dtype=np.float32)
    before[0, :10], before[1, :10] = 200.0, 1200.0
    assert np.percentile(before, [0.5, 99.5]).tolist() == [200.0, 1200.0]
    noise = (worse(before, "noise", 10) - before)[2:]
    assert noise.std() == pytest.approx(10 * 1000 / 255, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.5)
    # The same noise, three times as strong.
    stronger = (worse(before, "noise", 30) - before)[2:]
    unclipped = np.abs(stronger) < 499
    np.testing.assert_allclose(stronger[unclipped], 3 * noise[unclipped], rtol=1e-3, atol=1e-2)


def test_noise_stays_on_the_scale_but_pulls_nothing_into_it() -> None:
    before = np.linspace(0, 1000, 20_000, dtype=np.float32).reshape(2, 100, 100)
    before[0, 0, 0], before[1, -1, -1] = -5000.0, 9000.0  # a hole and a clip
    black, white = np.percentile(before, [0.5, 99.5])
    found = worse(before, "noise", 90)
    inside = (before >= black) & (before <= white)
    assert found[inside].min() == pytest.approx(black)
    assert found[inside].max() == pytest.approx(white)
    assert -5000 <= found[0, 0, 0] < -3000
    assert 7000 < found[1, -1, -1] <= 9000
    assert (found[before < black] >= before[before < black]).all()


# ---- blur --------------------------------------------------------------------------------------------------------


def test_blur_is_a_gaussian_in_mm_in_the_plane() -> None:
    before = np.zeros((3, 41, 81), dtype=np.float32)
    before[1, 20, 40] = 1000
    found = worse(before, "blur", 2, spacing=(4.0, 1.0, 0.5)).astype(float)
    assert found[[0, 2]].max() == 0
    y, x = np.arange(41) - 20, (np.arange(81) - 40) * 0.5
    expected = np.exp(-np.add.outer(y**2, x**2) / (2 * 2**2))
    np.testing.assert_allclose(found[1], 1000 * expected / expected.sum(), atol=1e-2)


# ---- bias field --------------------------------------------------------------------------------------------------


def test_bias_field_is_a_cubic_of_the_given_contrast() -> None:
    before = np.full((5, 12, 14), 400.0)
    before[0, 0, 0] = 0.0  # grey values count from the lowest
    found = worse(before, "bias", 4)
    assert found[0, 0, 0] == 0
    field = np.log(np.delete(found.ravel(), 0) / 400)
    assert math.exp(field.max() - field.min()) == pytest.approx(4, rel=0.05)  # the corner's own value is unknown
    assert field.max() <= math.log(2) + 1e-6
    assert field.min() >= -math.log(2) - 1e-6
    # A polynomial of degree 3 in three coordinates, found by least squares.
    z, y, x = (a.ravel()[1:] for a in np.meshgrid(*(np.linspace(-1, 1, n) for n in (5, 12, 14)), indexing="ij"))
    terms = [z**a * y**b * x**c for a, b, c in product(range(4), repeat=3) if a + b + c <= 3]
    _, residual, _, _ = np.linalg.lstsq(np.stack(terms, axis=1), field, rcond=None)
    assert residual.item() < 1e-8


def test_bias_field_of_a_single_slice() -> None:
    found = worse(image(1, 8, 9), "bias", 2)
    assert np.isfinite(found).all()


# ---- motion ------------------------------------------------------------------------------------------------------


class Draws(np.random.Generator):
    """A generator whose numbers are known."""

    def __init__(self, *, axis: int, times: list[float], angles: list[float], signs: list[float]) -> None:
        super().__init__(np.random.PCG64(0))
        self.axis, self.times, self.angles, self.signs = axis, times, iter(angles), iter(signs)

    def integers(self, *bounds: Any, **named: Any) -> Any:
        assert bounds == (2,)
        return self.axis

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        if size is None:
            assert (low, high) == (0, 2 * math.pi)
            return next(self.angles)
        assert (low, high, size) == (0.25, 0.75, 2)
        return np.array(self.times)

    def choice(self, *options: Any, **named: Any) -> Any:
        assert options == ((-1.0, 1.0),)
        return next(self.signs)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("times", [[0.7, 0.3], [0.6, 0.72], [0.26, 0.31], [0.5, 0.74], [0.3, 0.5]])
def test_motion_is_k_space_of_displaced_images_line_by_line(axis: int, times: list[float]) -> None:
    before = image(1, 24, 21, seed=3)
    plane, extent, angles, signs = before[0].astype(float), 3.0, [0.4, 2.0, 4.0], [1.0, -1.0, 1.0]
    draws = Draws(axis=axis, times=times, angles=angles, signs=signs)
    found = add_motion(before, extent, frame=Frame.of(before.shape, THICK), random=draws)
    lines = plane.shape[axis]
    frequencies = np.arange(lines) - lines // 2  # from the lowest to the highest
    transform = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(lines)) / lines)
    first, last = sorted(int(time * lines) for time in times)
    seen = [
        displaced(plane, sign * extent, (extent * math.cos(angle), extent * math.sin(angle)), THICK[1:])
        for sign, angle in zip(signs, angles, strict=True)
    ]
    parts = [0 if line < first else 1 if line < last else 2 for line in range(lines)]
    at_rest = parts[lines // 2]
    spectrum = np.stack(
        [
            np.tensordot(transform[line], plane if part == at_rest else seen[part], axes=(0, axis))
            for line, part in enumerate(parts)
        ],
        axis=axis,
    )
    expected = np.moveaxis(np.tensordot(np.conj(transform).T / lines, spectrum, axes=(1, axis)), 0, axis).real
    np.testing.assert_allclose(found[0], expected, atol=0.05)
    assert np.abs(expected - plane).max() > 50


def displaced(
    plane: NDArray[np.float64], degrees: float, shift_mm: tuple[float, float], spacing: tuple[float, ...]
) -> NDArray[np.float64]:
    rows, columns = plane.shape
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    y, x = (i - (rows - 1) / 2) * spacing[0], (j - (columns - 1) / 2) * spacing[1]
    at = [
        (cos * y - sin * x + shift_mm[0]) / spacing[0] + (rows - 1) / 2,
        (sin * y + cos * x + shift_mm[1]) / spacing[1] + (columns - 1) / 2,
    ]
    return map_coordinates(plane, at, order=1, mode="nearest")


def test_motion_and_ghosts_do_not_mix_slices() -> None:
    # Slices lie across the last axis here.
    before = image(16, 18, 5)
    other = before.copy()
    other[:, :, 2] += 50
    for key in ("motion", "ghosting", "blur"):
        strength = PERTURBATIONS[key].facts.strengths[-1]
        found, with_change = (worse(a, key, strength, spacing=(1, 1, 4)) for a in (before, other))
        np.testing.assert_allclose(found[:, :, [0, 1, 3, 4]], with_change[:, :, [0, 1, 3, 4]], atol=1e-3)


# ---- ghosting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["c0", "c1", "c2", "c3"])
def test_ghosts_take_a_part_of_every_gth_line_but_not_of_the_centre(case: str) -> None:
    before = image(1, 640, 600)
    half, whole = worse(before, "ghosting", 0.5, case=case), worse(before, "ghosting", 1, case=case)
    axis = next(a for a in (1, 2) if lost_lines(before, whole, a).any())
    lost = lost_lines(before, whole, axis)
    lines = before.shape[axis]
    frequencies = np.minimum(np.arange(lines), lines - np.arange(lines))
    g = int(np.gcd.reduce(frequencies[lost]))
    assert 4 <= g <= 10
    assert np.array_equal(lost, (frequencies % g == 0) & (frequencies > 0.02 * lines / 2))
    ours, theirs = (np.fft.fft(a, axis=axis) for a in (before, half))
    shape = [-1 if a == axis else 1 for a in range(3)]
    np.testing.assert_allclose(theirs, ours * np.where(lost, 0.5, 1.0).reshape(shape), atol=1)


def lost_lines(before: NDArray[np.generic], after: NDArray[np.generic], axis: int) -> NDArray[np.bool_]:
    others = tuple(a for a in range(3) if a != axis)
    ours, theirs = (np.abs(np.fft.fft(a, axis=axis)).max(axis=others) for a in (before, after))
    return theirs < 1e-3 * ours


# ---- slice thickness ---------------------------------------------------------------------------------------------


def test_thick_slices_are_means_of_their_neighbours_on_the_same_grid() -> None:
    before = np.arange(7, dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), dtype=np.float32)
    found = worse(before, "thickness", 3)
    assert found[:, 0, 0].tolist() == [1, 1, 1, 4, 4, 4, 6]
    assert worse(before, "thickness", 7)[:, 1, 2].tolist() == [3] * 7
    across_last = worse(np.moveaxis(before, 0, 2), "thickness", 3, spacing=(1, 1, 4))
    assert across_last[0, 0].tolist() == [1, 1, 1, 4, 4, 4, 6]


# ---- grid, type, refusals ----------------------------------------------------------------------------------------


def test_slices_lie_across_the_largest_voxels_or_the_only_slice() -> None:
    assert Frame.of((5, 6, 7), (4.0, 1.0, 0.5)).across == 0
    assert Frame.of((5, 6, 7), (1.0, 1.0, 4.0)).plane == (0, 1)
    assert Frame.of((5, 6, 7), (1.0, 1.0, 1.0)).across == 0
    assert Frame.of((1, 6, 7), (1.0, 3.0, 3.0)).across == 0


def test_whole_numbers_are_rounded_and_kept_within_their_type() -> None:
    before = np.array([250, 3], dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), dtype=np.uint8)
    assert worse(before, "thickness", 2)[0, 0, 0] == 126  # 126.5, to the even neighbour
    bright = worse(np.pad(before, ((0, 0), (0, 0), (0, 1))), "bias", 6)
    assert bright.max() == 255  # above 250 times the root of 6: cut, not wrapped round


@pytest.mark.parametrize(
    ("key", "strength", "said"),
    [
        ("fog", 1, "No perturbation is called 'fog'; there are noise, blur"),
        ("noise", -1, "no strength -1"),
        ("noise", math.inf, "no strength inf"),
        ("ghosting", 1.5, "at least 0 and at most 1"),
        ("thickness", 2.5, "give a whole number of at least 1"),
        ("bias", 0.5, "at least 1"),
    ],
)
def test_unknown_perturbations_and_strengths_are_refused(key: str, strength: float, said: str) -> None:
    with pytest.raises(SpineExtError, match=said):
        worse(image(2, 4, 4), key, strength)
