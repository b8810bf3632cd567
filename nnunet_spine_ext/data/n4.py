"""N4 bias field correction that is affordable on sagittal spine images: estimated small, applied large.

The field is smooth, so N4 estimates it on a copy with fewer pixels in plane; thick slices are never merged, there are
too few of them. What is applied is the logarithm of the field, evaluated on the full grid from its B-spline.

N4: Tustison et al., "N4ITK: Improved N3 Bias Correction", IEEE TMI 29(6): 1310-1320, 2010 (ITK's own filter).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from nnunet_spine_ext.data.cases import UnrepairableError
from nnunet_spine_ext.data.geometry import Grid, flattened, lifted, voxels
from nnunet_spine_ext.data.n4_options import N4Options

__all__ = ["N4Facts", "N4Options", "correct", "shrink_factors_xyz"]

THICK = 1.5
"""An axis whose voxels are this much longer than the shortest is the slice axis."""
SMALLEST = 16
"""Fewest voxels that an axis is shrunk to."""


@dataclass(frozen=True, kw_only=True)
class N4Facts:
    """What N4 did to one image, for the log."""

    shrink_xyz: tuple[int, ...]
    field_minimum: float
    field_maximum: float
    """Of the factor by which the image was divided, over the voxels that N4 looked at."""
    shifted_by: float
    """Added before and taken off after, so that no voxel was negative."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and lists."""
        return {**asdict(self), "shrink_xyz": list(self.shrink_xyz)}


def shrink_factors_xyz(grid: Grid, options: N4Options) -> tuple[int, ...]:
    """Return by how much each axis is shrunk, so that its voxels become about `options.target_mm` long.

    Never along slices: axes whose voxels are more than 1.5 times as long as the shortest. Never to fewer than 16
    voxels, and never a single slice.
    """
    shortest = min(mm for mm, size in zip(grid.spacing_xyz_mm, grid.size_xyz, strict=True) if size > 1)
    return tuple(
        max(1, min(round(options.target_mm / spacing), size // SMALLEST)) if spacing <= THICK * shortest else 1
        for size, spacing in zip(grid.size_xyz, grid.spacing_xyz_mm, strict=True)
    )


def correct(image: sitk.Image, options: N4Options) -> tuple[sitk.Image, N4Facts]:
    """Return the image divided by its bias field, as float32, and what was done.

    Args:
        image: 3D, or a single slice; any real voxel type. Voxels at zero (of the image, shifted if it has negative
            voxels) are background: N4 does not look at them.
        options: of the estimate.

    Raises:
        UnrepairableError: N4 fails on this image, or its field is no number somewhere.
    """
    start = time.perf_counter()
    single = image.GetDimension() == 3 and image.GetSize()[2] == 1
    shift = max(0.0, -float(voxels(image).min()))
    positive = _as_float32(image + shift) if shift else _as_float32(image)
    work = flattened(positive) if single else positive
    factors = shrink_factors_xyz(Grid.of(image), options)
    with _one_thread():
        log_field = _log_field(work, factors[: work.GetDimension()], options)
        divided = _as_float32(work / sitk.Exp(log_field))
    field = np.exp(voxels(log_field)[voxels(work) > 0])
    corrected = lifted(divided) if single else divided
    corrected = _as_float32(corrected - shift) if shift else corrected
    corrected.CopyInformation(image)
    facts = N4Facts(
        shrink_xyz=factors,
        field_minimum=round(float(field.min()), 4),
        field_maximum=round(float(field.max()), 4),
        shifted_by=shift,
        seconds=round(time.perf_counter() - start, 1),
    )
    return corrected, facts


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let ITK use one thread: N4 gains nothing from more, and its last digits depend on their number."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _as_float32(image: sitk.Image) -> sitk.Image:
    return sitk.Cast(image, sitk.sitkFloat32)


def _log_field(image: sitk.Image, factors: tuple[int, ...], options: N4Options) -> sitk.Image:
    """Return the logarithm of the field on the grid of `image`, estimated on a shrunken copy."""
    small = sitk.Shrink(image, factors)
    if not sitk.GetArrayViewFromImage(small).any():
        raise UnrepairableError("holds nothing for N4: every voxel is background", "Leave the case out.")
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(options.iterations))
    n4.SetNumberOfControlPoints([options.control_points] * image.GetDimension())
    n4.SetConvergenceThreshold(options.convergence)
    n4.SetBiasFieldFullWidthAtHalfMaximum(options.full_width_at_half_maximum)
    n4.SetWienerFilterNoise(options.wiener_noise)
    try:
        n4.Execute(small, small > 0)
        field = n4.GetLogBiasFieldAsImage(image)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UnrepairableError(f"N4 fails on it ({reason})", "Leave the case out, or convert without --n4.") from error
    if not np.isfinite(sitk.GetArrayViewFromImage(field)).all():
        raise UnrepairableError("N4 finds no finite field for it", "Leave the case out, or convert without --n4.")
    return _as_float32(field)


def options_of(description: Mapping[str, Any]) -> N4Options | None:
    """Return the options that a dataset.json records; None if its images were not corrected.

    Raises:
        ValueError: it records something that no options can be made of.
    """
    recorded = description.get("spine", {}).get("n4")
    return None if recorded is None else N4Options.from_json(recorded)
