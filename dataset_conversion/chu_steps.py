"""What the files of Chu et al. need beyond the usual: ids for the seven bodies, and a header axis turned round."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from nnunet_spine_ext.data.cases import UnrepairableError
from nnunet_spine_ext.data.geometry import Grid, voxels
from nnunet_spine_ext.data.headers import orientation

BODIES = ("L5", "L4", "L3", "L2", "L1", "T12", "T11")
"""From the lowest upwards; ids 1..7."""
_SHOWN_SIZES = 10


def numbered_bodies(image: sitk.Image) -> tuple[sitk.Image, tuple[str, str]]:
    """Give each connected component of a binary mask (voxels touching by face, edge or corner) an id, from below.

    Array axis 0 (z y x order) runs upwards in all published files.

    Raises:
        UnrepairableError: the mask has not exactly seven components.
    """
    components, count = ndimage.label(voxels(image), structure=np.ones((3, 3, 3)))
    if count != len(BODIES):
        sizes = sorted(np.bincount(components.ravel())[1:].tolist())
        shown = ", ".join(str(n) for n in sizes[:_SHOWN_SIZES]) + (" …" if count > _SHOWN_SIZES else "")
        finding = f"has {count} connected components ({shown or 'no'} voxels) instead of the seven bodies T11..L5"
        raise UnrepairableError(finding, "Correct the mask, leave the case out, or convert with --labels binary.")
    heights = [z for z, _, _ in ndimage.center_of_mass(components > 0, components, range(1, count + 1))]
    ids = np.zeros(count + 1, dtype=np.uint8)
    ids[1 + np.argsort(heights)] = range(1, count + 1)
    numbered = sitk.GetImageFromArray(ids[components])
    numbered.CopyInformation(image)
    what = "1 read as 1..7, one id per connected component, the lowest first"
    return numbered, (what, "the scheme vertebrae: the published masks have one id for all bodies")


def anterior_posterior_turned_round(image: sitk.Image) -> tuple[sitk.Image, tuple[str, str] | None]:
    """Let the header say that the second file axis runs to posterior; the box in space stays where it was.

    A header that says so already is left alone.
    """
    grid = Grid.of(image)
    if orientation(grid)[1] != "A":
        return image, None
    axes = np.reshape(grid.direction, (3, 3)).copy()
    length_mm = grid.spacing_xyz_mm[1] * (grid.size_xyz[1] - 1)
    turned = sitk.Image(image)
    turned.SetOrigin([float(x) for x in np.add(grid.origin_xyz_mm, length_mm * axes[:, 1])])
    axes[:, 1] *= -1
    turned.SetDirection([float(x) for x in axes.ravel()])
    what = f"header turned from {orientation(grid)} to {orientation(Grid.of(turned))}, voxels in the same order"
    return turned, (what, "--correct-headers: the second axis runs to posterior, the published header says anterior")
