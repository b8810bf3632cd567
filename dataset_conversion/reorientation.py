"""Turns the axes of volumes by their headers, so that all cases of a dataset have them in the same order.

nnU-Net works on arrays and never looks at a direction. Axes are exchanged and reversed, nothing is interpolated: every
voxel keeps its value and its place in space. Oblique axes count as the nearest body axis.
"""

from __future__ import annotations

import SimpleITK as sitk

from nnunet_spine_ext.data.geometry import Grid
from nnunet_spine_ext.data.headers import orientation

_Turned = tuple[sitk.Image, tuple[str, str] | None]


def axes_to_lps(image: sitk.Image) -> _Turned:
    """Let the axes (x y z) run to left, posterior, superior: arrays are (axial slices, rows, columns)."""
    return _turned(image, "LPS")


def axes_to_psr(image: sitk.Image) -> _Turned:
    """Let the axes (x y z) run to posterior, superior, right: arrays are (sagittal slices, height, depth)."""
    return _turned(image, "PSR")


def _turned(image: sitk.Image, towards: str) -> _Turned:
    found = orientation(Grid.of(image))
    if found == towards:
        return image, None
    why = "the same order of axes in all cases; voxels keep their values and their places"
    return sitk.DICOMOrient(image, towards), (f"axes turned from {found} to {towards}", why)
