"""Artefacts of MRI acquisition as augmentation: motion and ghosting (noise and blur are batchgeneratorsv2's).

An acquisition reads k-space, the Fourier transform of the image, line by line along the phase-encoding axis.

 - Motion: the patient moves between lines, so parts of k-space belong to displaced images. The part that holds the
   centre of k-space, and with it the contrast, belongs to the image in place: the labels stay where they are.
 - Ghosting: every g-th line is weaker, as by a periodic movement; in the image, copies appear at N/g voxels' distance.

Thick slices are acquired one by one, so everything happens in the plane of the slices (`plane`). Only the Fourier
transform along the phase-encoding axis is needed: along the other axes all lines are treated alike. The image is real,
and normalised to both signs, so the real part of the inverse transform is taken, not its magnitude.

Written from these definitions. The parameters have the meaning, and the recipes the ranges, of TorchIO's
RandomMotion and RandomGhosting (Pérez-García et al. 2021), which is not needed. Picklable: nnU-Net sends transforms to
its workers.

Axes: C channels, D H W = spatial axes 0 1 2 (of one sample: no batch); M = everything outside the plane, as one axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a part of k-space saw the patient: the rotation about, then the shift of, the centre of the plane."""

    rotation_degrees: tuple[float, ...]
    """One angle in a plane of two axes, one about each axis in three."""
    shift_mm: tuple[float, ...]
    """Along each axis of the plane."""


class MotionTransform(ImageOnlyTransform):
    """A few movements during the acquisition.

    Args:
        plane: two or three spatial axes, in rising order (0 = the first after the channels).
        spacing_mm: voxel size along each of them.
        rotation_degrees: greatest angle, to either side.
        shift_mm: greatest shift, to either side.
        movements: number of movements, at times drawn at random.
    """

    def __init__(
        self,
        plane: Sequence[int],
        *,
        spacing_mm: Sequence[float],
        rotation_degrees: float = 10.0,
        shift_mm: float = 10.0,
        movements: int = 2,
    ) -> None:
        super().__init__()
        self.plane = tuple(plane)
        self.spacing_mm = tuple(float(s) for s in spacing_mm)
        self.rotation_degrees = rotation_degrees
        self.shift_mm = shift_mm
        self.movements = movements

    def get_parameters(self, image: Tensor, **_data: object) -> dict[str, object]:
        """Draw phase-encoding axis, times and poses for one sample."""
        axis = int(torch.randint(len(self.plane), ()))
        lines = image.shape[1 + self.plane[axis]]
        times = torch.rand(self.movements).sort().values
        return {
            "axis": axis,
            "starts": [0, *(int(t * lines) for t in times)],
            "poses": [self._pose() for _ in range(self.movements)],
        }

    def _apply_to_image(self, img: Tensor, *, axis: int, starts: Sequence[int], poses: Sequence[Pose]) -> Tensor:
        """Return img (C, ...) whose k-space lines from `starts[i]` on, along `axis`, have the i-th pose.

        `poses` are those of the parts that do not hold the centre, in order.
        """
        flat, shape = _to_planes(img, self.plane)
        dim = axis - len(self.plane)
        ends = [*starts[1:], flat.shape[dim]]
        composed = _k_space(flat, dim)
        centre = flat.shape[dim] // 2
        moving = iter(poses)
        for start, end in zip(starts, ends, strict=True):
            if start <= centre < end:
                continue
            displaced = _k_space(displace(flat, next(moving), spacing_mm=self.spacing_mm), dim)
            composed.narrow(dim, start, end - start).copy_(displaced.narrow(dim, start, end - start))
        return _from_planes(_image(composed, dim), shape, self.plane)

    def _pose(self) -> Pose:
        dims = len(self.plane)
        angles, shifts = torch.rand(1 if dims == 2 else 3) * 2 - 1, torch.rand(dims) * 2 - 1
        return Pose(
            rotation_degrees=tuple((self.rotation_degrees * angles).tolist()),
            shift_mm=tuple((self.shift_mm * shifts).tolist()),
        )


class GhostingTransform(ImageOnlyTransform):
    """Copies of the image along one axis.

    Args:
        plane: spatial axes along which ghosts may appear (0 = the first after the channels).
        ghosts: least and greatest number of copies; of so many lines of k-space, one is weaker.
        intensity: least and greatest part of those lines that is lost, 0 to 1.
        restored: part of k-space about its centre that stays whole; the central line always does.
    """

    def __init__(
        self,
        plane: Sequence[int],
        *,
        ghosts: tuple[int, int] = (4, 10),
        intensity: tuple[float, float] = (0.5, 1.0),
        restored: float = 0.02,
    ) -> None:
        super().__init__()
        self.plane = tuple(plane)
        self.ghosts = ghosts
        self.intensity = intensity
        self.restored = restored

    def get_parameters(self, **_data: object) -> dict[str, object]:
        """Draw axis, number and intensity of the ghosts for one sample."""
        least, greatest = self.intensity
        return {
            "axis": self.plane[int(torch.randint(len(self.plane), ()))],
            "ghosts": int(torch.randint(self.ghosts[0], self.ghosts[1] + 1, ())),
            "intensity": least + (greatest - least) * float(torch.rand(())),
        }

    def _apply_to_image(self, img: Tensor, *, axis: int, ghosts: int, intensity: float) -> Tensor:
        """Return img (C, ...) with `ghosts` copies along the spatial `axis`."""
        dim = 1 + axis
        lines = img.shape[dim]
        # The mask is symmetric, so the spectrum of a real image stays that of one, and half of it is enough.
        distance = torch.arange(lines // 2 + 1, device=img.device)
        weaker = (distance % ghosts == 0) & (distance > self.restored * lines / 2) & (distance > 0)
        weight = torch.where(weaker, 1.0 - intensity, 1.0).view(-1, *[1] * (img.dim() - 1 - dim))
        ghosted: Tensor = torch.fft.irfft(torch.fft.rfft(img, dim=dim) * weight, n=lines, dim=dim)
        return ghosted.contiguous()


@dataclass(frozen=True)
class BlurWidth:
    """Draws the width of a Gaussian, in voxels, for batchgeneratorsv2's `GaussianBlurTransform`: in the plane only."""

    plane: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    greatest_mm: float

    def __call__(self, shape: Sequence[int], *, dim: int) -> float:
        """Return the standard deviation for axis `dim` of an image of `shape` (C, ...).

        Never so wide that the kernel, which reaches three times as far, does not fit into the image; and outside the
        plane so narrow that the kernel is one voxel.
        """
        one_voxel = 1e-3
        if dim - 1 not in self.plane:
            return one_voxel
        spacing_mm = self.spacing_mm[self.plane.index(dim - 1)]
        width = float(np.random.uniform(0.0, self.greatest_mm)) / spacing_mm
        return min(max(width, one_voxel), (shape[dim] - 2) / 3 if shape[dim] > 2 else one_voxel)


def displace(planes: Tensor, pose: Pose, *, spacing_mm: Sequence[float]) -> Tensor:
    """Return planes (M, *plane) as seen after the patient was displaced: linear interpolation, border continued.

    The value at a voxel is that of the image at rotation · (voxel - centre) + shift + centre, in mm.
    """
    size = planes.shape[1:]
    half_mm = torch.tensor([n * s / 2 for n, s in zip(size, spacing_mm, strict=True)], dtype=torch.float64)
    rotation = rotation_matrix(pose.rotation_degrees)
    # From -1 to 1 on each axis, as affine_grid counts.
    matrix = rotation * half_mm[None, :] / half_mm[:, None]
    shift = torch.tensor(pose.shift_mm, dtype=torch.float64) / half_mm
    theta = torch.cat((matrix.flip(0, 1), shift.flip(0)[:, None]), dim=1)  # x first, as affine_grid has it
    theta = theta.to(planes.dtype).to(planes.device)[None]
    grid = F.affine_grid(theta, [1, 1, *size], align_corners=False)
    return F.grid_sample(planes[None], grid, padding_mode="border", align_corners=False)[0]


def rotation_matrix(degrees: Sequence[float]) -> Tensor:
    """Return the rotation by one angle in a plane, or by three about axes 0, 1, 2 in turn (float64)."""
    if len(degrees) == 1:
        cos, sin = _cos_sin(degrees[0])
        return torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    total = torch.eye(3, dtype=torch.float64)
    for axis, angle in enumerate(degrees):
        cos, sin = _cos_sin(angle)
        i, j = (a for a in range(3) if a != axis)
        turn = torch.eye(3, dtype=torch.float64)
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = cos, -sin, sin, cos
        total = turn @ total
    return total


def _cos_sin(degrees: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def _k_space(planes: Tensor, dim: int) -> Tensor:
    """Return the spectrum along `dim`, its centre at index n // 2."""
    spectrum: Tensor = torch.fft.fftshift(torch.fft.fft(planes, dim=dim), dim=dim)
    return spectrum


def _image(spectrum: Tensor, dim: int) -> Tensor:
    image: Tensor = torch.fft.ifft(torch.fft.ifftshift(spectrum, dim=dim), dim=dim)
    return image.real


def _to_planes(image: Tensor, plane: Sequence[int]) -> tuple[Tensor, torch.Size]:
    """Return image (C, ...) as (M, *plane), and its shape with the plane last."""
    moved = image.movedim([1 + axis for axis in plane], list(range(-len(plane), 0)))
    return moved.flatten(0, -len(plane) - 1), moved.shape


def _from_planes(planes: Tensor, shape: torch.Size, plane: Sequence[int]) -> Tensor:
    moved = planes.reshape(shape).movedim(list(range(-len(plane), 0)), [1 + axis for axis in plane])
    return moved.contiguous()
