"""From painted sections to a T2-weighted scan: grey values, partial volume, coil shading and noise.

Axis legend: volumes are (slices, rows, columns) = (L → R, I → S, A → P).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from nnunet_spine_ext.data.phantom_anatomy import LABEL_OF, draw_spine
from nnunet_spine_ext.data.phantom_render import (
    UNLABELLED_BONE,
    UNLABELLED_DISC,
    Canvas,
    Codes,
    Hard,
    Soft,
    code,
    label_of,
    paint_section,
    paint_soft_tissue,
)
from nnunet_spine_ext.data.phantom_shapes import FIELD_OF_VIEW_MM, Spine

SLICE_MM = 4.4
SECTIONS_PER_SLICE = 3
"""Thin sections that one thick slice averages; with three, the majority has a closed form."""
_FINEST_PIXEL_MM = 1.2
_SEEN_SHARE = 0.25
"""The scanner's picture fills the middle half of the columns; the outer quarters are zero, as in the real files."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One synthetic case."""

    image: NDArray[np.int16]
    labels: NDArray[np.uint16]


def render_scan(rng: np.random.Generator, *, size: int, slices: int, top: str) -> Scan:
    """Return a random scan of `slices` × `size` × `size` voxels whose highest annotated structure is `top`."""
    spine = draw_spine(rng, top=top)
    greys = _draw_greys(rng, spine)
    fine = _odd_factor(FIELD_OF_VIEW_MM / size)
    canvas = Canvas(size=size * fine)
    labels = np.zeros((slices, size, size), np.uint16)
    image = np.zeros((slices, size, size), np.float32)
    for i in range(slices):
        sections = _paint_slice(spine, canvas, rng, lateral_mm=(i - (slices - 1) / 2) * SLICE_MM)
        voted = label_of(_majority(sections))
        labels[i] = voted[fine // 2 :: fine, fine // 2 :: fine]
        image[i] = _reduced(np.mean([greys[s] for s in sections], axis=0, dtype=np.float32), fine)
    return Scan(image=_scanned(rng, image), labels=labels)


def _odd_factor(pixel_mm: float) -> int:
    """Return by how much to paint finer than the picture; odd, so that a fine pixel sits in each pixel's centre."""
    return 2 * int(np.ceil((pixel_mm / _FINEST_PIXEL_MM - 1) / 2)) + 1 if pixel_mm > _FINEST_PIXEL_MM else 1


def _paint_slice(spine: Spine, canvas: Canvas, rng: np.random.Generator, *, lateral_mm: float) -> list[Codes]:
    background = paint_soft_tissue(spine, canvas, rng, lateral_mm=lateral_mm)
    offsets = (np.arange(SECTIONS_PER_SLICE) + 0.5) / SECTIONS_PER_SLICE - 0.5
    return [paint_section(spine, background, canvas, lateral_mm=float(lateral_mm + o * SLICE_MM)) for o in offsets]


def _majority(sections: Sequence[Codes]) -> Codes:
    """Return per pixel what at least two of three sections show, else the middle one."""
    first, middle, last = (label_of(s) for s in sections)
    return np.where(first == last, first, middle)


def _reduced(picture: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    if factor == 1:
        return picture
    rows, columns = (n // factor for n in picture.shape)
    smaller: NDArray[np.float32] = picture.reshape(rows, factor, columns, factor).mean(axis=(1, 3))
    return smaller


def _draw_greys(rng: np.random.Generator, spine: Spine) -> NDArray[np.float32]:
    """Return the table code → grey value of one case."""
    contrast = rng.uniform(1.25, 1.75)
    greys: NDArray[np.float32] = np.zeros(256, np.float32)
    marrow = rng.uniform(380, 620)
    for material, value in {
        Soft.FAT: rng.uniform(750, 1050), Soft.MUSCLE: rng.uniform(130, 210), Soft.CSF: rng.uniform(1150, 1600),
        Soft.CORD: rng.uniform(430, 560), Soft.DARK: rng.uniform(40, 80),
        # Like marrow under the shading of the coil, so that no threshold finds the bones.
        Soft.VISCERA: marrow * rng.uniform(1.0, 1.4),
    }.items():  # fmt: skip
        greys[material] = value
    bones = [LABEL_OF["S"], UNLABELLED_BONE, *(v.label for v in spine.vertebrae if v.label)]
    for structure in bones:
        greys[code(structure, Hard.MARROW)] = marrow * rng.uniform(0.93, 1.07)
        greys[code(structure, Hard.CORTEX)] = 0.25 * marrow
    healthy, dark = rng.uniform(620, 950), rng.uniform(110, 190)
    for disc in spine.discs:
        structure = disc.label or UNLABELLED_DISC
        greys[code(structure, Hard.ANNULUS)] = dark
        greys[code(structure, Hard.NUCLEUS)] = dark + (healthy - dark) * (1 - disc.degeneration) ** 1.5
    greys *= np.float32(contrast)
    return greys


def _scanned(rng: np.random.Generator, image: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return the image as a scanner gives it: blurred, mottled, shaded by the coil, noisy, zero outside its field."""
    slices, size, _ = image.shape
    blur_mm = rng.uniform(0.25, 0.4)
    blur = blur_mm * size / FIELD_OF_VIEW_MM
    image = np.asarray(gaussian_filter(image, (0, blur, blur)), np.float32)
    image *= 1 + 0.07 * _smooth_noise(rng, image.shape, knots_per_side=60)
    image *= _coil_shading(rng, slices=slices, size=size)
    sigma = np.float32(rng.uniform(18, 45))
    real = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
    magnitude = np.hypot(real, sigma * rng.standard_normal(image.shape, dtype=np.float32))  # Rician
    edge = round(_SEEN_SHARE * size)
    magnitude[:, :, :edge] = magnitude[:, :, size - edge :] = 0
    stored: NDArray[np.int16] = np.clip(np.rint(magnitude), 0, 4095).astype(np.int16)
    return stored


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], *, knots_per_side: int) -> NDArray[np.float32]:
    knots = rng.standard_normal((shape[0], knots_per_side, knots_per_side), dtype=np.float32)
    factors = (1, shape[1] / knots_per_side, shape[2] / knots_per_side)
    return np.asarray(zoom(knots, factors, order=1, mode="nearest", grid_mode=True), np.float32)


def _coil_shading(rng: np.random.Generator, *, slices: int, size: int) -> NDArray[np.float32]:
    """Return the gain of a coil in the table: high at the back, low in the belly, fading to both ends."""
    along = (np.arange(size, dtype=np.float32) + 0.5) / size
    to_the_back = np.exp(rng.uniform(1.2, 2.6) * (along - 0.5))[None, None, :]
    ends = (1 - rng.uniform(0.3, 0.9) * (along - rng.uniform(0.42, 0.58)) ** 2 * 2)[None, :, None]
    sideways = (1 + rng.uniform(-0.1, 0.1) * np.linspace(-1, 1, slices, dtype=np.float32))[:, None, None]
    return (to_the_back * ends * sideways).astype(np.float32)
