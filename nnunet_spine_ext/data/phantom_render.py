"""Painting a synthetic spine into one thin sagittal section: which structure and which material each pixel shows.

Axis legend: a section is an array (rows, columns) = (I → S, A → P). Every pixel holds a code: the low five bits are
the structure's id, the high three bits its material. Pseudo-ids above 19: structures that are seen but not annotated.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, zoom

from nnunet_spine_ext.data.geometry import Array
from nnunet_spine_ext.data.labels import MRSPINESEG_STRUCTURES
from nnunet_spine_ext.data.phantom_anatomy import LABEL_OF
from nnunet_spine_ext.data.phantom_shapes import (
    FIELD_OF_VIEW_MM,
    Capsule,
    Disc,
    Frame,
    SacralSegment,
    Spine,
    Vertebra,
)

Codes = NDArray[np.uint8]

UNLABELLED_BONE, UNLABELLED_DISC = 20, 21
SACRUM = LABEL_OF["S"]
_MATERIAL_SHIFT = 5
_STRUCTURE_BITS = 31
_CORTEX_MM = 0.8


class Soft(IntEnum):
    """Codes of what is neither bone nor disc."""

    AIR = 0
    FAT = 1 << _MATERIAL_SHIFT
    MUSCLE = 2 << _MATERIAL_SHIFT
    CSF = 3 << _MATERIAL_SHIFT
    CORD = 4 << _MATERIAL_SHIFT
    DARK = 5 << _MATERIAL_SHIFT
    """Flowing blood, ligaments, fascia, skin."""
    VISCERA = 6 << _MATERIAL_SHIFT


class Hard(IntEnum):
    """Materials of bones and discs."""

    MARROW = 0
    CORTEX = 1
    ANNULUS = 2
    NUCLEUS = 3


def code(structure: int, material: Hard) -> int:
    """Return the pixel value of a structure made of a material."""
    return structure | material << _MATERIAL_SHIFT


def label_of(codes: Codes) -> Codes:
    """Return the annotated id of every pixel (0 where nothing is annotated)."""
    structures: Codes = codes & np.uint8(_STRUCTURE_BITS)
    structures[structures > len(MRSPINESEG_STRUCTURES)] = 0
    return structures


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """The pixel grid of a section: square, over the whole field of view."""

    size: int

    @property
    def pixel_mm(self) -> float:
        """Edge of a pixel in mm."""
        return FIELD_OF_VIEW_MM / self.size

    def centres_mm(self) -> NDArray[np.float32]:
        """Return the pixel centres along either axis."""
        return ((np.arange(self.size) + 0.5) * self.pixel_mm).astype(np.float32)

    def window(self, frame: Frame, reach_mm: float) -> tuple[tuple[slice, slice], Array, Array]:
        """Return the square around a frame's centre: its slices, and u and v (mm) of its pixels."""
        bounds = []
        for centre in (frame.si_mm, frame.ap_mm):
            first = int((centre - reach_mm) / self.pixel_mm)
            last = int((centre + reach_mm) / self.pixel_mm) + 2
            bounds.append(slice(min(max(first, 0), self.size), min(max(last, 0), self.size)))
        centres = self.centres_mm()
        u, v = frame.local(centres[None, bounds[1]], centres[bounds[0], None])
        return (bounds[0], bounds[1]), u, v


def paint_section(spine: Spine, background: Codes, canvas: Canvas, *, lateral_mm: float) -> Codes:
    """Return `background` with canal, sacrum, discs and vertebrae as they are cut at `lateral_mm`."""
    codes: Codes = background.copy()
    _paint_canal(codes, spine, canvas, lateral_mm=lateral_mm)
    for segment in spine.sacrum:
        _paint_sacral_segment(codes, segment, canvas, lateral_mm=lateral_mm)
    _paint_crest(codes, spine, canvas, lateral_mm=lateral_mm)
    for disc in spine.discs:
        _paint_disc(codes, disc, canvas, lateral_mm=lateral_mm)
    for vertebra in spine.vertebrae:
        _paint_vertebra(codes, vertebra, canvas, lateral_mm=lateral_mm)
    return codes


def paint_soft_tissue(spine: Spine, canvas: Canvas, rng: np.random.Generator, *, lateral_mm: float) -> Codes:
    """Return one slice without spine: belly, great vessels, psoas, muscles of the back, fat, skin, air.

    The patterns are random but the same over the thickness of a slice, so this is painted once per slice.
    """
    centres = canvas.centres_mm()
    wall = _wall_at(spine, canvas)[:, None]
    skin = np.interp(centres, *np.array(spine.skin_mm).T).astype(np.float32)[:, None]
    columns = centres[None, :]
    coarse = _pattern(rng, canvas, rows=26, columns=26)
    streaks = _pattern(rng, canvas, rows=18, columns=70)
    middle = abs(lateral_mm - spine.vertebrae[2].frame.lateral_mm)

    codes: Codes = np.where(coarse > 0.25, np.uint8(Soft.FAT), np.uint8(Soft.VISCERA))
    front = wall - 2 * spine.vertebrae[2].half_depth_mm
    if middle > 16:
        codes[(columns > front - 8) & (columns < wall + 12)] = Soft.MUSCLE  # psoas
    elif 2 < middle < 15:
        codes[(columns > front - 19) & (columns < front - 3) & (centres[:, None] > 95)] = Soft.DARK  # vessels
    fat_share = 0.9 if middle > 4 else -0.3
    back = columns > wall + 8
    codes = np.where(back, np.where(streaks > fat_share, np.uint8(Soft.FAT), np.uint8(Soft.MUSCLE)), codes)
    fascia = np.minimum(wall + 46, skin - 6)
    codes[columns > fascia] = Soft.FAT
    codes[(columns > fascia - 1.2) & (columns < fascia + 0.3)] = Soft.DARK
    codes[columns > skin - 1.8] = Soft.DARK
    codes[columns > skin] = Soft.AIR
    return codes


def _pattern(rng: np.random.Generator, canvas: Canvas, *, rows: int, columns: int) -> NDArray[np.float32]:
    """Return smooth random numbers (standard normal at the knots); the draw does not depend on the canvas."""
    knots = rng.standard_normal((rows, columns), dtype=np.float32)
    factors = (canvas.size / rows, canvas.size / columns)
    return np.asarray(zoom(knots, factors, order=1, mode="nearest", grid_mode=True), np.float32)


def _wall_at(spine: Spine, canvas: Canvas) -> NDArray[np.float32]:
    """Return the position (mm, A-P) of the canal's front in every row."""
    si, ap = np.array(spine.posterior_wall_mm).T
    course = np.interp(canvas.centres_mm(), si, ap)
    return np.asarray(gaussian_filter1d(course, 3.0 / canvas.pixel_mm, mode="nearest"), np.float32)


def _paint_canal(codes: Codes, spine: Spine, canvas: Canvas, *, lateral_mm: float) -> None:
    """Fat, the sac of fluid, the cord above the conus, the nerve roots below it."""
    centres = canvas.centres_mm()
    rows, columns = centres[:, None], centres[None, :]
    s1 = spine.sacrum[0].frame
    middle = np.interp(centres, *np.array([(v.frame.si_mm, v.frame.lateral_mm) for v in spine.vertebrae]).T)
    aside = (lateral_mm - middle.astype(np.float32))[:, None]
    wall = _wall_at(spine, canvas)
    slope = np.gradient(wall, canvas.pixel_mm)
    across = np.sqrt(1 + slope**2)[:, None]  # the canal is inclined: its depth along a row is longer
    # Full depth down to S1, then tapering to nothing 45 mm below.
    taper = np.clip((rows - (s1.si_mm - 45)) / 45, 0, 1)
    depth = 14.5 * taper * np.sqrt(np.clip(1 - (aside / 10.5) ** 2, 0, 1)) * across
    behind = columns - wall[:, None]
    codes[(behind > 0.5) & (behind < 3.0 + depth) & (depth > 0)] = Soft.FAT
    codes[(behind > 0.3) & (behind < 1.2) & (depth > 0)] = Soft.DARK
    inside = (behind > 1.2) & (behind < depth)
    codes[inside] = Soft.CSF
    above = rows - np.float32(spine.conus_si_mm)
    thickness = 3.6 * np.sqrt(np.clip(above / 22, 0, 1)) * np.sqrt(np.clip(1 - (aside / 5.0) ** 2, 0, 1))
    codes[inside & (np.abs(behind - 0.52 * depth) < thickness)] = Soft.CORD
    roots = (np.sin(1.9 * (behind - 0.35 * depth)) > 0.45) & (behind > 0.42 * depth) & (behind < 0.88 * depth)
    codes[inside & roots & (above < 0) & (np.abs(aside) < 7)] = Soft.CORD


def _paint_vertebra(codes: Codes, vertebra: Vertebra, canvas: Canvas, *, lateral_mm: float) -> None:
    w = lateral_mm - vertebra.frame.lateral_mm
    place, u, v = canvas.window(vertebra.frame, 62.0)
    gaps = [_rod_gap_mm(rod, u, v, w) for rod in vertebra.arch if _reaches(rod, w)]
    if abs(w) < vertebra.half_width_mm:
        gaps.append(_body_gap_mm(vertebra, u, v, w))
    if gaps:
        _paint_bone(codes[place], np.maximum.reduce(gaps), vertebra.label or UNLABELLED_BONE)


def _paint_bone(target: Codes, gap_mm: Array, structure: int) -> None:
    """Marrow with a thin dark shell; `gap_mm` is how deep each pixel lies inside the bone."""
    target[gap_mm > 0] = code(structure, Hard.CORTEX)
    target[gap_mm > _CORTEX_MM] = code(structure, Hard.MARROW)


def _body_gap_mm(vertebra: Vertebra, u: Array, v: Array, w: float) -> Array:
    """Return about how deep (mm) each pixel lies inside the body; negative outside."""
    a, b, h = vertebra.half_depth_mm, vertebra.half_width_mm, vertebra.half_height_mm
    across = (w / b) ** 2
    waist = a * (1 - 0.07 * np.clip(1 - (v / h) ** 2, 0, 1))
    front = waist * (1 - across) ** 0.42
    back = waist * (1 - across**3) ** 0.5
    along = np.where(u < 0, u + front, back - u)
    hollow = 1.2 * np.clip(1 - (u / a) ** 2, 0, 1) * (1 - across)  # endplates are concave
    height = 0.5 + h * (1 + vertebra.wedge * u / a) * (1 - 0.08 * across) - hollow
    gap = np.minimum(along, height - np.abs(v))
    corner = np.maximum(3.0 - along, 0) ** 2 + np.maximum(3.0 - (height - np.abs(v)), 0) ** 2
    rounded: Array = np.where(corner > 0, np.minimum(gap, 3.0 - np.sqrt(corner)), gap)
    return rounded


def _reaches(rod: Capsule, w: float) -> bool:
    low, high = sorted((rod.start_mm[2], rod.end_mm[2]))
    return low - rod.radius_mm / rod.flatness < w < high + rod.radius_mm / rod.flatness


def _rod_gap_mm(rod: Capsule, u: Array, v: Array, w: float) -> Array:
    """Return how deep (mm) each pixel lies inside the rod; negative outside."""
    thin = np.array([1, 1, rod.flatness])
    start, end = np.array(rod.start_mm) * thin, np.array(rod.end_mm) * thin
    a_u, a_v, a_w = (float(x) for x in end - start)
    d_u, d_v, d_w = u - float(start[0]), v - float(start[1]), w * rod.flatness - float(start[2])
    length = a_u * a_u + a_v * a_v + a_w * a_w + 1e-6
    t = np.clip((d_u * (a_u / length) + d_v * (a_v / length)) + d_w * a_w / length, 0, 1)
    gap: Array = rod.radius_mm - np.sqrt((d_u - t * a_u) ** 2 + (d_v - t * a_v) ** 2 + (d_w - t * a_w) ** 2)
    return gap


def _paint_disc(codes: Codes, disc: Disc, canvas: Canvas, *, lateral_mm: float) -> None:
    """Painted before the bones and somewhat too high: the concave endplates then cut it to shape."""
    w = lateral_mm - disc.frame.lateral_mm
    across = float(w / disc.half_width_mm) ** 2
    if across >= 1:
        return
    structure = disc.label or UNLABELLED_DISC
    place, u, v = canvas.window(disc.frame, disc.half_depth_mm + disc.half_height_mm + 4)
    a = disc.half_depth_mm * (1 - across) ** 0.4
    outline = np.abs(u / a) ** 4 + np.abs(v / (disc.half_height_mm + 2.2)) ** 6
    codes[place][outline < 1] = code(structure, Hard.ANNULUS)
    nucleus = np.abs((u - 1.0) / (0.66 * a)) ** 3 + np.abs(v / (disc.half_height_mm + 0.8)) ** 2
    codes[place][nucleus < 1] = code(structure, Hard.NUCLEUS)


def _paint_sacral_segment(codes: Codes, segment: SacralSegment, canvas: Canvas, *, lateral_mm: float) -> None:
    """Paint a tapering block; holes for the nerves open between the segments on either side of the middle."""
    w = abs(lateral_mm - segment.frame.lateral_mm)
    place, u, v = canvas.window(segment.frame, segment.half_height_mm + segment.upper_half_depth_mm)
    h = segment.half_height_mm
    share = np.clip((h - v) / (2 * h), 0, 1)
    depth = segment.upper_half_depth_mm + (segment.lower_half_depth_mm - segment.upper_half_depth_mm) * share
    slope_down = 9.0 * max(w - 12, 0) / 15 * (segment.upper_half_depth_mm > 15)  # the wings of S1 fall off sideways
    gap = np.minimum(depth - np.abs(u), np.minimum(h + 0.6 - slope_down - v, h + 0.6 + v))
    if 9 < w < 22:
        radius = 5.8 * np.sqrt(1 - ((w - 15.5) / 6.5) ** 2)
        hole = np.sqrt(((u - 1) / 1.5) ** 2 + (np.abs(v) - h) ** 2)
        gap = np.minimum(gap, hole - radius)
    # Remnants of the sacral discs: a dark line between the segments, still sacrum.
    _paint_bone(codes[place], gap, SACRUM)


def _paint_crest(codes: Codes, spine: Spine, canvas: Canvas, *, lateral_mm: float) -> None:
    frame = spine.sacrum[0].frame
    w = lateral_mm - frame.lateral_mm
    if _reaches(spine.sacral_crest, w):
        place, u, v = canvas.window(frame, 120.0)
        _paint_bone(codes[place], _rod_gap_mm(spine.sacral_crest, u, v, w), SACRUM)
