"""Cut a sagittal picture out of a volume: superior up, anterior left, by the header's direction matrix.

No voxel is resampled in space: an oblique volume is shown along its own nearest axes. Patient axes are LPS (x to the
left, y to the back, z up), as SimpleITK has them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_spine_ext.data.geometry import Array, Grid

_LEFT, _BACK, _UP = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class SagittalView:
    """Which axes of a (z, y, x) array make the rows and columns of the picture, and which of them run the other way."""

    across: int
    """The array axis perpendicular to the picture: nearest to the patient's left-right axis."""
    rows: int
    columns: int
    flip_rows: bool
    flip_columns: bool
    row_mm: float
    """Distance of two rows, in mm."""
    column_mm: float

    @classmethod
    def of(cls, grid: Grid) -> SagittalView:
        """Return the view of a 3D grid."""
        cosines = np.reshape(grid.direction, (3, 3))  # [patient axis, array axis in x y z order]
        order = max(itertools.permutations(range(3)), key=lambda p: sum(abs(cosines[i, a]) for i, a in enumerate(p)))
        return cls(
            across=2 - order[_LEFT],
            rows=2 - order[_UP],
            columns=2 - order[_BACK],
            flip_rows=bool(cosines[_UP, order[_UP]] > 0),  # the first row is the uppermost
            flip_columns=bool(cosines[_BACK, order[_BACK]] < 0),  # the first column is the foremost
            row_mm=grid.spacing_xyz_mm[order[_UP]],
            column_mm=grid.spacing_xyz_mm[order[_BACK]],
        )

    def cut(self, array_zyx: Array, index: int) -> Array:
        """Return slice `index` of the array as rows × columns."""
        plane = np.take(array_zyx, index, axis=self.across)
        picture = plane if self.rows < self.columns else plane.T
        picture = picture[::-1] if self.flip_rows else picture
        return np.asarray(picture[:, ::-1] if self.flip_columns else picture)

    def middle(self, mask_zyx: NDArray[np.bool_]) -> int:
        """Return the slice through the middle of a mask (the median of its voxels); of the volume if it is empty."""
        per_slice = mask_zyx.sum(axis=tuple(axis for axis in range(3) if axis != self.across))
        if not per_slice.any():
            return int(mask_zyx.shape[self.across] // 2)
        return int(np.searchsorted(np.cumsum(per_slice), per_slice.sum() / 2))


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The part of a picture that is shown, and the size in pixels that gives it the right aspect."""

    top: int
    bottom: int
    left: int
    right: int
    height_px: int
    width_px: int

    @classmethod
    def around(cls, mask: NDArray[np.bool_], view: SagittalView, *, margin_mm: float, longest_px: int) -> Frame:
        """Return the frame around a mask with a margin; the whole picture if the mask is empty."""
        top, bottom = _extent(np.any(mask, axis=1), margin_mm / view.row_mm)
        left, right = _extent(np.any(mask, axis=0), margin_mm / view.column_mm)
        height_mm, width_mm = (bottom - top) * view.row_mm, (right - left) * view.column_mm
        scale = longest_px / max(height_mm, width_mm)
        return cls(
            top=top,
            bottom=bottom,
            left=left,
            right=right,
            height_px=max(1, round(height_mm * scale)),
            width_px=max(1, round(width_mm * scale)),
        )

    def nearest(self, picture: Array) -> Array:
        """Return the framed part at its size in pixels, each pixel taking the voxel that it lies in."""
        part = picture[self.top : self.bottom, self.left : self.right]
        rows = (np.arange(self.height_px) + 0.5) * part.shape[0] / self.height_px
        columns = (np.arange(self.width_px) + 0.5) * part.shape[1] / self.width_px
        return part[np.ix_(rows.astype(int), columns.astype(int))]


def _extent(there: Array, margin: float) -> tuple[int, int]:
    if not there.any():
        return 0, len(there)
    indices = np.flatnonzero(there)
    return max(0, int(indices[0] - margin)), min(len(there), int(np.ceil(indices[-1] + 1 + margin)))
