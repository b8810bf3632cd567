"""Pictures as data URIs: a grey slice, and label maps as fills and outlines on a transparent ground."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nnunet_spine_ext.data.geometry import Array
from nnunet_spine_ext.report.palette import colour
from nnunet_spine_ext.report.sagittal import Frame

_FILL_OPACITY = 115
_OPAQUE = 255
_OUTLINE_WHITE = 0.3
_LOW_PERCENT, _HIGH_PERCENT = 0.5, 99.5


def grey(picture: Array, frame: Frame) -> str:
    """Return the framed part of a slice as a grey PNG; the darkest and brightest half per cent of it are clipped."""
    part = picture[frame.top : frame.bottom, frame.left : frame.right].astype(np.float32)
    low, high = np.percentile(part, (_LOW_PERCENT, _HIGH_PERCENT))
    scaled = np.clip((part - low) / max(float(high - low), 1e-6), 0, 1) * 255
    image = Image.fromarray(scaled.astype(np.uint8))
    return _png(image.resize((frame.width_px, frame.height_px), Image.Resampling.BICUBIC))


def fill(painted: NDArray[np.uint8]) -> str:
    """Return a map of colour indices (0 nothing, i + 1 the structure at i) as half-transparent areas."""
    return _paletted(painted, opacity=_FILL_OPACITY, white=0)


def outline(painted: NDArray[np.uint8]) -> str:
    """Return the inner edges of the same areas as opaque, lighter lines."""
    edge = np.zeros(painted.shape, dtype=bool)
    for axis in (0, 1):
        differs = np.diff(painted.astype(np.int16), axis=axis) != 0
        before, after = [slice(None)] * 2, [slice(None)] * 2
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        edge[tuple(before)] |= differs
        edge[tuple(after)] |= differs
    return _paletted(np.where(edge, painted, 0).astype(np.uint8), opacity=_OPAQUE, white=_OUTLINE_WHITE)


def _paletted(painted: NDArray[np.uint8], *, opacity: int, white: float) -> str:
    image = Image.fromarray(painted, mode="P")
    highest = int(painted.max(initial=0))
    colours = (value for index in range(highest) for value in colour(index))
    image.putpalette([0, 0, 0, *(round(value + white * (255 - value)) for value in colours)])
    return _png(image, transparency=bytes([0, *[opacity] * highest]))


def _png(image: Image.Image, transparency: bytes | None = None) -> str:
    buffer = io.BytesIO()
    settings = {} if transparency is None else {"transparency": transparency}
    image.save(buffer, "PNG", optimize=True, **settings)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
