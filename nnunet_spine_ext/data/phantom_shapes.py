"""The shapes that make a synthetic spine, in millimetres; nothing of pixels, grey values or chance.

Axes of a point: `ap` grows from anterior to posterior and is 0 at the first column of the picture, `si` grows from
inferior to superior and is 0 at its lowest row, `lateral` is 0 in the middle of the stack. Each vertebra, disc and
sacral segment has a frame of its own: u to posterior, v to cranial along its tilted axis, w lateral from its centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnunet_spine_ext.data.geometry import Array

FIELD_OF_VIEW_MM = 0.3448276 * 880
"""Edge of the square picture: the pixel and the size of most of the challenge's files."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Place and tilt of one shape; maps points of the picture into the shape's own u, v, w."""

    ap_mm: float
    si_mm: float
    lateral_mm: float
    tilt_rad: float

    def local(self, ap_mm: Array, si_mm: Array) -> tuple[Array, Array]:
        """Return u and v (mm) of points of the picture."""
        sine, cosine = np.float32(np.sin(self.tilt_rad)), np.float32(np.cos(self.tilt_rad))
        d_ap, d_si = ap_mm - np.float32(self.ap_mm), si_mm - np.float32(self.si_mm)
        return d_ap * cosine - d_si * sine, d_ap * sine + d_si * cosine

    def point(self, u_mm: float, v_mm: float) -> tuple[float, float]:
        """Return ap and si (mm) of a point of this frame."""
        sine, cosine = np.sin(self.tilt_rad), np.cos(self.tilt_rad)
        return float(self.ap_mm + u_mm * cosine + v_mm * sine), float(self.si_mm - u_mm * sine + v_mm * cosine)


@dataclass(frozen=True, kw_only=True)
class Capsule:
    """A rod with round ends between two points (u, v, w) of a frame; `flatness` > 1 makes it thin from side to side."""

    start_mm: tuple[float, float, float]
    end_mm: tuple[float, float, float]
    radius_mm: float
    flatness: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Vertebra:
    """A vertebral body with its arch; `label` 0 marks one that shows at the upper edge and is not annotated."""

    name: str
    label: int
    frame: Frame
    half_height_mm: float
    half_depth_mm: float
    half_width_mm: float
    wedge: float
    """Relative gain of height towards posterior."""
    arch: tuple[Capsule, ...]


@dataclass(frozen=True, kw_only=True)
class Disc:
    """An intervertebral disc; `degeneration` runs from 0 (bright nucleus) to 1 (dark, flat, bulging)."""

    name: str
    label: int
    frame: Frame
    half_height_mm: float
    half_depth_mm: float
    half_width_mm: float
    degeneration: float


@dataclass(frozen=True, kw_only=True)
class SacralSegment:
    """One of the five fused segments; its depth runs linearly from the upper to the lower end."""

    frame: Frame
    half_height_mm: float
    upper_half_depth_mm: float
    lower_half_depth_mm: float


@dataclass(frozen=True, kw_only=True)
class Spine:
    """All shapes of one case, and two curves of the soft tissue as functions of the height in the picture."""

    sacrum: tuple[SacralSegment, ...]
    sacral_crest: Capsule
    """In the frame of the first sacral segment."""
    discs: tuple[Disc, ...]
    vertebrae: tuple[Vertebra, ...]
    posterior_wall_mm: tuple[tuple[float, float], ...]
    """(si, ap) along the front of the canal, from below."""
    skin_mm: tuple[tuple[float, float], ...]
    """(si, ap) of the skin of the back, from below."""
    conus_si_mm: float
    """Where the spinal cord ends."""
