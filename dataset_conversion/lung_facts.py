"""What the 2D slices and the 3D volumes of the Kaggle lungs have in common: source, labels, patients, Hounsfield units.

The number in a name is the CT scan: slice `ID_0002_Z_0162.tif` is the middle one of volume `IMG_0002.nii.gz`. So a scan
is a patient, and the four scans of which there is a volume are validated in the same fold of either dataset.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from nnunet_spine_ext.data.cases import UnrepairableError
from nnunet_spine_ext.data.geometry import Grid, voxels
from nnunet_spine_ext.data.labels import LabelScheme
from nnunet_spine_ext.data.repairs import STANDARD

LICENCE = "not known (Kaggle: unknown)"
CITATION = "Mader KS. Finding and Measuring Lungs in CT Data. Kaggle, kmader/finding-lungs-in-ct-data, 2017."
WHERE = "https://www.kaggle.com/datasets/kmader/finding-lungs-in-ct-data"
REPAIRS = (*STANDARD, "equal channels", "wrap-around", "255 mask")
LUNGS = LabelScheme(
    name="lungs",
    description="Both lungs as one structure, as published.",
    structures=(("lungs", (1,)),),
    ordered=False,
)
FOLD_OF_SCAN = {"0002": 0, "0031": 1, "0059": 2, "0078": 3}
"""The scans that are there in 2D and in 3D → the fold that validates them, in both."""
NOTES = (
    "The channel is called CT, so nnU-Net normalises by the Hounsfield units of the foreground. That is right because "
    "every image was found to hold them; copies for the screen (8 bits, RGB) are refused.",
    "Slices and volumes with the same number are of the same scan. The folds of lung2d and lung3d agree: what one "
    "validates in a fold, the other does not train on in that fold.",
)

_AIR_HU = -1000
_SURELY_AIR_HU = -500
LOWEST_HU = -1024
"""Nothing is less dense than air; scanners store padding outside their field of view as less."""


def padding_clipped(image: sitk.Image) -> tuple[sitk.Image, tuple[str, str] | None]:
    """Raise what lies below -1024 HU to that: padding outside the field of view.

    Raises:
        UnrepairableError: there is no air in the image, so its values are no Hounsfield units.
    """
    array = voxels(image)
    if array.min() > _SURELY_AIR_HU:
        finding = f"holds {array.min()}..{array.max()}, but air is about {_AIR_HU} HU: these are no Hounsfield units"
        raise UnrepairableError(finding, "Get the original image; an offset (often 1024) must be taken off first.")
    below = array < LOWEST_HU
    if not below.any():
        return image, None
    what = f"{int(below.sum())} voxels below {LOWEST_HU} HU (down to {array.min()}) raised to it"
    clipped = sitk.GetImageFromArray(np.maximum(array, LOWEST_HU).astype(array.dtype))
    clipped.CopyInformation(image)
    return clipped, (what, "padding outside the scanner's field of view, not tissue")


def axial_slices_last(image: sitk.Image) -> tuple[sitk.Image, tuple[str, str] | None]:
    """Put the axial slices of the published volumes where every other CT has them, and let the header say so.

    The published files have the slices along the *first* file axis, rows and columns along the others, under a plain
    diagonal header that calls that axis left-right. A volume counts as such if its second and third axes are alike in
    size and spacing, the first is not, and its header is diagonal; any other is left as it is.
    """
    grid = Grid.of(image)
    if not _slices_first(grid):
        return image, None
    signs = np.diag(np.reshape(grid.direction, (3, 3)))
    # Rows run to the back and columns to the left where the header is the published one (R A S: signs - - +); where
    # it is mirrored, so is this one: image and mask with different headers stay different.
    turned = sitk.PermuteAxes(image, [2, 1, 0])
    turned.SetDirection([float(x) for x in np.diag([signs[2], -signs[1], -signs[0]]).ravel()])
    turned.SetOrigin(grid.origin_xyz_mm)
    what = f"axes reordered from {grid.size_xyz} to {turned.GetSize()} (x y z), the header says axial slices"
    return turned, (what, "published with the axial slices along the first axis, which its header calls left-right")


def _slices_first(grid: Grid) -> bool:
    direction = np.reshape(grid.direction, (3, 3))
    diagonal = np.allclose(np.abs(direction), np.eye(3), atol=1e-3)
    spacing = grid.spacing_xyz_mm
    in_plane = grid.size_xyz[1] == grid.size_xyz[2] and np.isclose(spacing[1], spacing[2], rtol=1e-3)
    other = grid.size_xyz[0] != grid.size_xyz[1] or not np.isclose(spacing[0], spacing[1], rtol=1e-3)
    return bool(diagonal and in_plane and other)
