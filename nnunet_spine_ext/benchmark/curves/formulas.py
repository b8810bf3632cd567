"""What makes an image worse: noise, blur, a bias field, motion, ghosts, thicker slices, each as one formula.

Slices are taken to lie across the axis with the largest voxels (the first of them), and are acquired one by one: blur,
motion and ghosts stay in the plane of a slice. Motion takes its geometry from the training augmentation
(training/artefacts.py); there its extent is drawn, here it is given.

Axes: D H W = array axes 0 1 2 (z y x), P Q = the two axes of the plane, M = slices.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

Values = NDArray[np.float32]
"""Grey values of one channel, (D, H, W)."""

GREY_LEVELS = 255
GREY_PERCENTILES = (0.5, 99.5)
"""What is black and white on the scale of 0 to 255. Paper 004 does not say; extremes would hang on single voxels."""
BIAS_DEGREE = 3
MOVEMENTS = 2
MOVES_BETWEEN = (0.25, 0.75)
"""Of the acquisition: a movement at its very ends would change nothing."""
GHOSTS = (4, 10)
RESTORED = 0.02
"""Part of k-space about its centre that no ghost weakens, as in the training augmentation."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a formula must know of the grid."""

    across: int
    """The axis across the slices."""
    plane: tuple[int, int]
    spacing_zyx_mm: tuple[float, ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], spacing_zyx_mm: tuple[float, ...]) -> Frame:
        """Return the frame of a volume; a single slice is a slice, whatever the size of its voxels."""
        across = shape.index(1) if 1 in shape else int(np.argmax(spacing_zyx_mm))
        first, second = (axis for axis in range(3) if axis != across)
        return cls(across=across, plane=(first, second), spacing_zyx_mm=spacing_zyx_mm)


def add_noise(image: Values, k: float, *, random: np.random.Generator) -> Values:
    """Return image + k Z, Z standard normal, on the scale of 0 to 255 and kept within it (paper 004, equation 5).

    A voxel that is outside the scale before is not pulled into it.
    """
    black, white = np.percentile(image, GREY_PERCENTILES)
    per_level = (white - black) / GREY_LEVELS
    noisy = image + k * per_level * random.standard_normal(image.shape, dtype=np.float32)
    clipped: Values = np.clip(noisy, np.minimum(image, black), np.maximum(image, white)).astype(np.float32)
    return clipped


def blur(image: Values, sd_mm: float, *, frame: Frame) -> Values:
    """Return the image under a Gaussian of this standard deviation in the plane; its border is continued."""
    sigma = [0.0 if axis == frame.across else sd_mm / mm for axis, mm in enumerate(frame.spacing_zyx_mm)]
    blurred: Values = gaussian_filter(image, sigma, mode="nearest")
    return blurred


def add_bias_field(image: Values, ratio: float, *, random: np.random.Generator) -> Values:
    """Return the image times exp(f), f a random polynomial of degree 3 in the three coordinates.

    f is scaled so that the brightest place is `ratio` times as bright as the darkest: they lie at the root of
    `ratio` and at its inverse. Grey values count from the image's lowest.
    """
    n = BIAS_DEGREE + 1
    degree = np.add.outer(np.add.outer(np.arange(n), np.arange(n)), np.arange(n))
    coefficients = np.where((degree > 0) & (degree <= BIAS_DEGREE), random.uniform(-1, 1, (n, n, n)), 0.0)
    at = [np.linspace(-1, 1, size) if size > 1 else np.zeros(1) for size in image.shape]
    powers = [np.power(x, np.arange(n)[:, None]) for x in at]
    field = np.einsum("abc,ad,bh,cw->dhw", coefficients, *powers, optimize=True)
    spread = float(field.max() - field.min())
    scaled = (field - field.min()) / spread - 0.5 if spread else np.zeros_like(field)
    lowest = image.min()
    shaded: Values = (lowest + (image - lowest) * np.exp(math.log(ratio) * scaled)).astype(np.float32)
    return shaded


def add_motion(image: Values, extent: float, *, frame: Frame, random: np.random.Generator) -> Values:
    """Return the image of a patient who moved twice, each time by `extent` mm and turned by `extent` degrees.

    The lines of k-space (along one axis of the plane) before and after a movement belong to differently displaced
    images; those that hold the centre, and with it the contrast, to the image in place: the labels stay right.
    """
    import torch

    from nnunet_spine_ext.training.artefacts import Pose, displace

    dim = int(random.integers(2))
    lines = image.shape[frame.plane[dim]]
    starts = [0, *sorted((random.uniform(*MOVES_BETWEEN, MOVEMENTS) * lines).astype(int).tolist()), lines]
    planes = np.ascontiguousarray(np.moveaxis(image, frame.across, 0))  # (M, P, Q)
    spacing_mm = [frame.spacing_zyx_mm[axis] for axis in frame.plane]
    k_space = fft.fftshift(fft.fft(planes, axis=1 + dim), axes=1 + dim)
    for start, end in itertools.pairwise(starts):
        angle, sign = random.uniform(0, 2 * math.pi), random.choice((-1.0, 1.0))
        if start <= lines // 2 < end:
            continue
        shift_mm = (extent * math.cos(angle), extent * math.sin(angle))
        pose = Pose(rotation_degrees=(extent * float(sign),), shift_mm=shift_mm)
        moved = displace(torch.from_numpy(planes), pose, spacing_mm=spacing_mm).numpy()
        part = (slice(None),) * (1 + dim) + (slice(start, end),)
        k_space[part] = fft.fftshift(fft.fft(moved, axis=1 + dim), axes=1 + dim)[part]
    seen = fft.ifft(fft.ifftshift(k_space, axes=1 + dim), axis=1 + dim).real
    return np.moveaxis(seen, 0, frame.across).astype(np.float32)


def add_ghosts(image: Values, lost: float, *, frame: Frame, random: np.random.Generator) -> Values:
    """Return the image with copies along one axis of the plane: every g-th line of k-space loses the part `lost`.

    g, the number of copies, is drawn from 4 to 10.
    """
    axis = frame.plane[int(random.integers(2))]
    ghosts = int(random.integers(GHOSTS[0], GHOSTS[1] + 1))
    lines = image.shape[axis]
    distance = np.arange(lines // 2 + 1)  # of a line from the centre; a real image has a symmetric spectrum
    weaker = (distance % ghosts == 0) & (distance > RESTORED * lines / 2) & (distance > 0)
    weight = np.where(weaker, 1 - lost, 1.0).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(3)]
    ghosted: Values = fft.irfft(fft.rfft(image, axis=axis) * weight.reshape(shape), n=lines, axis=axis)
    return ghosted


def thicken_slices(image: Values, averaged: int, *, frame: Frame) -> Values:
    """Return the image as slices `averaged` times as thick show it, on the same grid.

    Every `averaged` neighbouring slices become their mean; what is left over at the end, too.
    """
    slices = image.shape[frame.across]
    starts = np.arange(0, slices, averaged)
    sums = np.add.reduceat(image, starts, axis=frame.across)
    counts = np.diff([*starts, slices])
    shape = [-1 if i == frame.across else 1 for i in range(3)]
    thick: Values = (sums / counts.reshape(shape)).astype(np.float32)
    return np.repeat(thick, counts, axis=frame.across)
