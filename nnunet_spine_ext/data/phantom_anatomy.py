"""A random synthetic spine: sizes, curve and order of its vertebrae, discs and sacrum.

Sizes are textbook means of adults (lumbar bodies about 35 mm deep and 25 mm high, discs 5 to 9 mm), rounded; they make
pictures that look like a lumbar spine and are no source for anatomy. The axes are those of `phantom_shapes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d

from nnunet_spine_ext.data.labels import MRSPINESEG_STRUCTURES
from nnunet_spine_ext.data.phantom_shapes import (
    FIELD_OF_VIEW_MM,
    Capsule,
    Disc,
    Frame,
    SacralSegment,
    Spine,
    Vertebra,
)

LABEL_OF = {name: i for i, name in enumerate(MRSPINESEG_STRUCTURES, start=1)}

# Per vertebra from below: height, depth (A-P), width (L-R) of the body in mm, tilt in degrees (positive = leaning
# backwards going up), distance of the pedicles from the middle in mm, and how thoracic its arch looks (0 to 1).
_VERTEBRAE = {
    "L5": (24.0, 35.5, 49.0, -17.0, 14.5, 0.0),
    "L4": (25.0, 35.5, 47.0, -7.0, 13.0, 0.0),
    "L3": (25.5, 35.0, 45.0, 0.0, 12.5, 0.0),
    "L2": (25.5, 34.0, 43.0, 5.0, 12.0, 0.0),
    "L1": (25.0, 33.0, 41.0, 8.0, 11.5, 0.1),
    "T12": (24.0, 32.0, 39.0, 8.0, 11.0, 0.4),
    "T11": (22.5, 31.0, 37.0, 6.0, 10.5, 0.7),
    "T10": (21.0, 30.0, 35.0, 3.0, 10.0, 0.9),
    "T9": (20.0, 29.0, 33.0, 0.0, 9.5, 1.0),
    "T8": (19.5, 28.5, 32.0, -3.0, 9.5, 1.0),
}
_DISC_HEIGHTS = {
    "L5/S": 9.0, "L4/L5": 9.0, "L3/L4": 8.5, "L2/L3": 8.0, "L1/L2": 7.5,
    "T12/L1": 6.5, "T11/T12": 5.5, "T10/T11": 5.0, "T9/T10": 4.5, "T8/T9": 4.5,
}  # fmt: skip
_COLUMN = [name for pair in zip(_DISC_HEIGHTS, _VERTEBRAE, strict=True) for name in pair]
# Sacral segments and the coccyx from above: height, depth at the upper end in mm, tilt relative to the endplate of S1.
_SACRUM = (
    (28.0, 36.0, -2.0), (24.0, 22.0, 0.0), (20.0, 17.0, 8.0), (17.0, 13.0, 19.0), (15.0, 11.0, 29.0), (26.0, 9.0, 38.0),
)  # fmt: skip
_SACRAL_TIP_MM = 7.0


@dataclass(frozen=True, kw_only=True)
class _Body:
    """What is drawn once per case and shapes all of its structures."""

    heights_mm: dict[str, float]
    """For a size of 1."""
    tilts_deg: dict[str, float]
    size: float
    depth_factor: float
    base_si_mm: float
    """Height of the endplate of S1 in the picture."""
    sway_mm: float
    phase: float

    def lateral_mm(self, si_mm: float) -> float:
        """Return how far the spine lies from the middle slice (a light scoliosis)."""
        return float(self.sway_mm * np.sin(self.phase + 2 * np.pi * si_mm / 400))


def draw_spine(rng: np.random.Generator, *, top: str) -> Spine:
    """Return a random spine of which the picture's upper edge cuts the structure `top` (T12, T11/T12, …, T9)."""
    body = _draw_body(rng, top=top)
    base = Frame(
        ap_mm=rng.uniform(0.435, 0.465) * FIELD_OF_VIEW_MM,
        si_mm=body.base_si_mm,
        lateral_mm=body.lateral_mm(body.base_si_mm),
        tilt_rad=float(np.radians(body.tilts_deg["S"])),
    )
    sacrum = _sacrum(base, body)
    discs, vertebrae = _column(rng, base, body, top=top)
    wall = _posterior_wall(sacrum, vertebrae)
    l1 = next(v for v in vertebrae if v.name == "L1")
    return Spine(
        sacrum=sacrum,
        sacral_crest=_sacral_crest(sacrum, size=body.size),
        discs=tuple(discs),
        vertebrae=tuple(vertebrae),
        posterior_wall_mm=wall,
        skin_mm=_skin(rng, wall),
        conus_si_mm=float(l1.frame.si_mm + rng.uniform(-15, 15)),
    )


def _draw_body(rng: np.random.Generator, *, top: str) -> _Body:
    heights, tilts = _draw_heights(rng), _draw_tilts(rng)
    base_si, size = _fit_to_picture(rng, heights=heights, tilts=tilts, top=top)
    return _Body(
        heights_mm=heights,
        tilts_deg=tilts,
        size=size,
        depth_factor=float(rng.uniform(0.95, 1.05) * size**0.6),
        base_si_mm=base_si,
        sway_mm=float(rng.uniform(0, 4)),
        phase=float(rng.uniform(0, 2 * np.pi)),
    )


def _column(rng: np.random.Generator, base: Frame, body: _Body, *, top: str) -> tuple[list[Disc], list[Vertebra]]:
    """Return discs and vertebrae from below, each standing on the one before; two more than are annotated."""
    discs, vertebrae = [], []
    ap, si = base.ap_mm, base.si_mm
    annotated = _COLUMN[: _COLUMN.index(top) + 1]
    for name in _COLUMN[: len(annotated) + 2]:
        height = body.heights_mm[name] * body.size
        tilt = float(np.radians(body.tilts_deg[name]))
        rise_ap, rise_si = float(height * np.sin(tilt)), float(height * np.cos(tilt))
        frame = Frame(ap_mm=ap + rise_ap / 2, si_mm=si + rise_si / 2, lateral_mm=body.lateral_mm(si), tilt_rad=tilt)
        label = LABEL_OF[name] if name in annotated else 0
        if name in _VERTEBRAE:
            vertebrae.append(_vertebra(rng, name, label, frame, body))
        else:
            discs.append(_disc(rng, name, label, frame, body))
        ap, si = ap + rise_ap, si + rise_si
    return discs, vertebrae


def _draw_heights(rng: np.random.Generator) -> dict[str, float]:
    """Heights along the column for size 1; about one disc in five is flattened (its degeneration follows from that)."""
    bodies = {name: facts[0] * rng.uniform(0.95, 1.05) for name, facts in _VERTEBRAE.items()}
    discs = {name: height * rng.uniform(0.92, 1.08) for name, height in _DISC_HEIGHTS.items()}
    for level, name in enumerate(discs):
        if rng.random() < (0.4 if level < 2 else 0.15):
            discs[name] *= rng.uniform(0.6, 0.85)
    return bodies | discs


def _draw_tilts(rng: np.random.Generator) -> dict[str, float]:
    """Tilt in degrees of every structure: the usual curve, stronger or flatter, leaning as a whole."""
    curve, lean = rng.uniform(0.7, 1.35), rng.uniform(-3, 3)
    tilts = {"S": -38.0 * (0.5 + 0.5 * curve) + lean}
    tilts |= {name: facts[3] * curve + lean + rng.uniform(-1.5, 1.5) for name, facts in _VERTEBRAE.items()}
    names = ["S", *_VERTEBRAE]
    for disc, (below, above) in zip(_DISC_HEIGHTS, pairwise(names), strict=True):
        tilts[disc] = (tilts[below] + tilts[above]) / 2
    return tilts


def _fit_to_picture(
    rng: np.random.Generator, *, heights: dict[str, float], tilts: dict[str, float], top: str
) -> tuple[float, float]:
    """Return the height of S1's endplate in the picture (mm) and the size factor that put the upper edge into `top`."""
    position = _COLUMN.index(top)
    rise = [heights[name] * np.cos(np.radians(tilts[name])) for name in _COLUMN]
    # A vertebra may be cut; a disc counts as annotated only when it is in view as a whole, with some of the next bone.
    cut = rng.uniform(0.7, 1.0) * rise[position]
    if top not in _VERTEBRAE:
        cut = rise[position] + rng.uniform(0.05, 0.3) * rise[position + 1]
    reach = sum(rise[:position]) + cut
    size = float(np.clip((FIELD_OF_VIEW_MM - rng.uniform(58, 82)) / reach, 0.84, 1.16))
    return FIELD_OF_VIEW_MM - size * float(reach), size


def _vertebra(rng: np.random.Generator, name: str, label: int, frame: Frame, body: _Body) -> Vertebra:
    height = body.heights_mm[name] * body.size
    _, depth, width, _, pedicle, thoracic = _VERTEBRAE[name]
    half_depth = depth * body.depth_factor / 2
    return Vertebra(
        name=name,
        label=label,
        frame=frame,
        half_height_mm=height / 2,
        half_depth_mm=half_depth,
        half_width_mm=width * body.depth_factor / 2,
        wedge=float(rng.uniform(-0.03, 0.03) + {"L5": -0.09, "L4": -0.02}.get(name, 0.04 * thoracic)),
        arch=_arch(
            half_depth, height, size=body.size, pedicle=pedicle, thoracic=thoracic, spine=0.75 if name == "L5" else 1
        ),
    )


def _arch(
    half_depth: float, height: float, *, size: float, pedicle: float, thoracic: float, spine: float
) -> tuple[Capsule, ...]:
    """Return pedicles, articular and transverse processes, laminae of both sides, and the spinous process."""
    rods = []
    for side in (-1.0, 1.0):

        def rod(start: tuple[float, float, float], end: tuple[float, float, float], radius: float) -> Capsule:
            ends = [
                (half_depth + size * u, v * height, side * size * (pedicle + w))  # noqa: B023 - used in this turn only
                for u, v, w in (start, end)
            ]
            return Capsule(start_mm=ends[0], end_mm=ends[1], radius_mm=radius * size)

        rods += [
            rod((-3, 0.22, 0), (8, 0.2, 0), 4.8),  # pedicle
            rod((9, 0.15, 1.5), (12, 0.58, 2), 4.0 - thoracic),  # superior articular process
            rod((11, 0.1, 0.5), (17, -0.72, -1), 4.4 - thoracic),  # inferior articular process
            rod((13, -0.05, -2), (20, -0.35, 2 - pedicle), 3.6),  # lamina
            rod((8, 0.12, 3), (13, 0.2, 18 - 4 * thoracic), 4.2),  # transverse process
        ]
    radius = (9.5 - 4.0 * thoracic) * size * spine
    start = (half_depth + size * (24 - 2 * thoracic), -0.25 * height, 0.0)
    end = (half_depth + size * (31 + 5 * thoracic) * (0.6 + 0.4 * spine), -(0.38 + 0.7 * thoracic) * height, 0.0)
    return (*rods, Capsule(start_mm=start, end_mm=end, radius_mm=radius, flatness=radius / (3.4 * size)))


def _disc(rng: np.random.Generator, name: str, label: int, frame: Frame, body: _Body) -> Disc:
    """Return a disc; the flatter it is for its level, the more degenerated, and age darkens some others too."""
    height = body.heights_mm[name] * body.size
    _, depth, width, *_ = _VERTEBRAE[name.split("/")[0]]
    flatness = 1 - body.heights_mm[name] / _DISC_HEIGHTS[name]
    degeneration = float(np.clip(4 * flatness + rng.uniform(-0.1, 0.4), 0, 1))
    return Disc(
        name=name,
        label=label,
        frame=frame,
        half_height_mm=height / 2,
        half_depth_mm=depth * body.depth_factor / 2 + 0.5 + 1.2 * degeneration,
        half_width_mm=width * body.depth_factor / 2 + 0.5,
        degeneration=degeneration,
    )


def _sacrum(base: Frame, body: _Body) -> tuple[SacralSegment, ...]:
    """Return the segments from above; each hangs from the lower end of the one before."""
    segments, ap, si = [], base.ap_mm, base.si_mm
    depths = [*(depth for _, depth, _ in _SACRUM), _SACRAL_TIP_MM]
    for i, (height, _, turn) in enumerate(_SACRUM):
        tilt = base.tilt_rad + float(np.radians(turn))
        down = height * body.size
        ap, si = ap - down * np.sin(tilt), si - down * np.cos(tilt)
        frame = Frame(
            ap_mm=float(ap + down / 2 * np.sin(tilt)),
            si_mm=float(si + down / 2 * np.cos(tilt)),
            lateral_mm=base.lateral_mm,
            tilt_rad=tilt,
        )
        segments.append(
            SacralSegment(
                frame=frame,
                half_height_mm=down / 2,
                upper_half_depth_mm=depths[i] * body.depth_factor / 2,
                lower_half_depth_mm=depths[i + 1] * body.depth_factor / 2,
            )
        )
    return tuple(segments)


def _sacral_crest(sacrum: Sequence[SacralSegment], *, size: float) -> Capsule:
    """Return the bony ridge behind the sacral canal."""
    first, second, third = sacrum[0], sacrum[1], sacrum[2]
    ap, si = third.frame.point(third.upper_half_depth_mm + 7 * size, 0)
    u, v = first.frame.local(np.float32(ap), np.float32(si))
    start = (second.upper_half_depth_mm + 18 * size, -4 * size, 0.0)
    return Capsule(start_mm=start, end_mm=(float(u), float(v), 0.0), radius_mm=4.0 * size, flatness=1.2)


def _posterior_wall(sacrum: Sequence[SacralSegment], vertebrae: Sequence[Vertebra]) -> tuple[tuple[float, float], ...]:
    """Return (si, ap) of the back of the bodies, rising strictly."""
    points = [s.frame.point((s.upper_half_depth_mm + s.lower_half_depth_mm) / 2, 0) for s in reversed(sacrum)]
    points += [v.frame.point(v.half_depth_mm, k * v.half_height_mm) for v in vertebrae for k in (-0.8, 0.8)]
    wall: list[tuple[float, float]] = []
    for ap, si in points:
        if not wall or si > wall[-1][0] + 1:
            wall.append((si, ap))
    return tuple(wall)


def _skin(rng: np.random.Generator, wall: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return (si, ap) of the back: the wall's course, flattened, behind arches and a layer of fat."""
    heights = np.linspace(-20, FIELD_OF_VIEW_MM + 20, 40)
    si, ap = np.array(wall).T
    course = np.asarray(gaussian_filter1d(np.interp(heights, si, ap), 2.5, mode="nearest"))
    flat = 0.5 * course + 0.5 * course[15:].mean() + 42 + rng.uniform(8, 22)
    behind_sacrum = np.maximum(flat, course + 28)
    return tuple((float(s), float(a)) for s, a in zip(heights, behind_sacrum, strict=True))
