"""N4 on a phantom with a known bias field: seconds, and how much of the field is left.

    python benchmarks/n4.py [--size 880] [--slices 15] [--small 220]  >  benchmarks/n4.md

The phantom's own coil is switched off; a smooth field of known shape is multiplied onto the finished image, noise
included. What is left is the standard deviation of log(estimated / true field) over all voxels above zero, the mean
taken off (a constant factor is no bias). Full-resolution N4 is affordable on a smaller picture of the same spine only.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import dataclass
from unittest import mock

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_spine_ext.data import phantom_signal
from nnunet_spine_ext.data.geometry import voxels
from nnunet_spine_ext.data.n4 import N4Options, correct
from nnunet_spine_ext.data.phantom_shapes import FIELD_OF_VIEW_MM

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Biased:
    """A picture with a known field."""

    image: sitk.Image
    log_field: Array
    inside: NDArray[np.bool_]


def make(size: int, slices: int, *, seed: int) -> Biased:
    """Render a spine without coil shading and multiply a known field onto it."""
    with mock.patch.object(phantom_signal, "_coil_shading", lambda *_, **__: np.float32(1)):
        scan = phantom_signal.render_scan(np.random.default_rng(seed), size=size, slices=slices, top="T11")
    clean = scan.image.astype(np.float32)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in clean.shape), indexing="ij")
    # High at the back, fading to both ends, a little to one side: a coil in the table.
    log_field = 0.9 * x - 0.45 * y**2 + 0.2 * x * y + 0.08 * z
    inside = clean > 0
    log_field -= log_field[inside].mean()
    image = sitk.GetImageFromArray(clean * np.exp(log_field))
    image.SetSpacing((FIELD_OF_VIEW_MM / size, FIELD_OF_VIEW_MM / size, phantom_signal.SLICE_MM))
    return Biased(image=image, log_field=log_field, inside=inside)


def left_over(biased: Biased, corrected: sitk.Image) -> float:
    """Return the standard deviation of log(estimated / true field)."""
    before, after = voxels(biased.image)[biased.inside], voxels(corrected)[biased.inside]
    estimated = np.log(before / after)
    return float(np.std(estimated - biased.log_field[biased.inside]))


def row(name: str, biased: Biased, options: N4Options) -> str:
    """Correct and measure; return a line of the table."""
    start = time.perf_counter()
    corrected, facts = correct(biased.image, options)
    seconds = time.perf_counter() - start
    shape = " × ".join(str(n) for n in biased.log_field.shape)
    shrink = " × ".join(str(n) for n in facts.shrink_xyz[::-1])
    before = float(np.std(biased.log_field[biased.inside]))
    return f"| {name} | {shape} | {shrink} | {seconds:.1f} | {before:.3f} | {left_over(biased, corrected):.3f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=880)
    parser.add_argument("--slices", type=int, default=15)
    parser.add_argument("--small", type=int, default=220)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    pixel_mm = FIELD_OF_VIEW_MM / settings.size
    large = make(settings.size, settings.slices, seed=settings.seed)
    small = make(settings.small, settings.slices, seed=settings.seed)
    default = N4Options()
    print("# N4 on a phantom with a known bias field\n")
    print("| estimate | size z y x | shrink z y x | seconds | field, SD of log | left over, SD of log |")
    print("|---|---|---|---:|---:|---:|")
    print(row("default (about 2.75 mm)", large, default), flush=True)
    print(row("half as coarse", large, N4Options(target_mm=4 * pixel_mm)), flush=True)
    print(row("default, small picture", small, default), flush=True)
    print(row("full resolution, small picture", small, N4Options(target_mm=1e-3)), flush=True)
    print(
        f"\nMade by `python benchmarks/n4.py`: one thread, one run each, one phantom (seed {settings.seed}); "
        f"{platform.machine()}, {os.cpu_count()} processors shared with other work, so seconds count only against one "
        f"another. SimpleITK {sitk.Version.VersionString()}, numpy {np.__version__}. Iterations "
        f"{', '.join(str(i) for i in default.iterations)}; rounding of the phantom's grey values is part of what is "
        "left over."
    )


if __name__ == "__main__":
    main()
