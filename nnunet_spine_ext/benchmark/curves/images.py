"""Writes the perturbed images of some cases, under the names by which nnU-Net takes them for images of its own."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine_ext.benchmark.curves.data import CaseGroup, CurveData
from nnunet_spine_ext.benchmark.curves.perturbations import perturb
from nnunet_spine_ext.data.geometry import (
    Grid,
    flattened,
    lifted,
    read_any,
    require_scalar_3d,
    voxels,
    write_image,
)
from nnunet_spine_ext.data.parallel import in_parallel


@dataclass(frozen=True, kw_only=True)
class _Task:
    source: Path
    target: Path
    case: str
    channel: int
    perturbation: str
    strength: float
    seed: int


def write_perturbed(
    data: CurveData,
    group: CaseGroup,
    folder: Path,
    *,
    perturbation: str,
    strength: float,
    seed: int,
    processes: int,
) -> None:
    """Write every case of a group into `folder`, made worse; header and voxel type stay.

    Raises:
        DataError: an image cannot be read, or has several values per voxel.
    """
    folder.mkdir(parents=True)
    tasks = [
        _Task(
            source=source,
            target=folder / source.name,
            case=case,
            channel=channel,
            perturbation=perturbation,
            strength=strength,
            seed=seed,
        )
        for case in group.cases
        for channel, source in enumerate(data.image_files(group, case))
    ]
    with contextlib.redirect_stderr(io.StringIO()):  # the curve has a bar of its own
        in_parallel(_write, tasks, processes=processes, description="Perturbing")


def link_unchanged(data: CurveData, group: CaseGroup, folder: Path) -> None:
    """Put the images of a group into `folder` as they are."""
    folder.mkdir(parents=True)
    for case in group.cases:
        for source in data.image_files(group, case):
            try:
                os.link(source.resolve(), folder / source.name)
            except OSError:  # another disk, or a file system without links
                shutil.copyfile(source, folder / source.name)


def _write(task: _Task) -> None:
    image = read_any(task.source)
    volume = require_scalar_3d(lifted(image), task.source)
    grid = Grid.of(volume)
    worse = perturb(
        voxels(volume),
        spacing_zyx_mm=grid.spacing_zyx_mm,
        perturbation=task.perturbation,
        strength=task.strength,
        case=task.case,
        channel=task.channel,
        seed=task.seed,
    )
    placed = grid.place(worse)
    write_image(flattened(placed) if image.GetDimension() == 2 else placed, task.target)
