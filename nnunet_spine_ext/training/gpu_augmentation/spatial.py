"""Rotation, scaling and mirroring of windows, and slices of a volume handled as channels.

The sampling is batchgeneratorsv2's: images linearly with zeros outside; labels by the largest of the linearly sampled
one-hot maps, rounded to half precision, ties given to the nearest voxel's label.

Axes: B windows, C channels, G label maps, *S spatial axes of the windows as loaded, *P those of the patch.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.cropping import crop_tensor
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from nnunet_spine_ext.training.gpu_augmentation.windows import Drawn, Windows, rows

SCORE = 1000.0
"""What a one-hot map is scaled by before it is rounded, as batchgeneratorsv2 has it: ties come out the same."""


def why_not(transform: SpatialTransform) -> str | None:
    """Return what a transform asks for that `resample` does not do; None if it does all."""
    if transform.p_elastic_deform > 0:
        return "elastic deformation"
    if transform.random_crop:
        return "random crops"
    wanted = {
        "mode_image": "bilinear",
        "padding_mode_image": "zeros",
        "mode_seg": "bilinear",
        "border_mode_seg": "constant",
        "align_corners": False,
        "seg_tiebreak": "nearest",
    }
    return next(
        (f"{name} {getattr(transform, name)!r}" for name, value in wanted.items() if getattr(transform, name) != value),
        None,
    )


def resample(windows: Windows, drawn: Drawn, transform: SpatialTransform) -> None:
    """Cut the patch out of the middle of each window; rotate and scale those for which a matrix was drawn."""
    patch = tuple(int(length) for length in transform.patch_size)
    image, labels = windows.image, windows.labels
    windows.image = _middle(image, patch, outside=0.0)
    windows.labels = _middle(labels, patch, outside=transform.padding_value_seg)
    turned = [window for window, parameters in drawn.items() if parameters["affine"] is not None]
    if not turned:
        return
    matrices = np.stack([sampling_matrix(drawn[window]["affine"], image.shape[2:], patch) for window in turned])
    where = rows(turned, image)
    theta = torch.from_numpy(matrices).to(image.device, image.dtype, non_blocking=True)
    grids = affine_grid(theta, [len(turned), 1, *patch], align_corners=False)
    sampled = grid_sample(image[where], grids, mode="bilinear", padding_mode="zeros", align_corners=False)
    windows.image.index_copy_(0, where, sampled)
    present = labels_present(labels[where])
    for window, grid, matrix, known in zip(turned, grids, matrices, present, strict=True):
        reaches_outside = _reaches_outside(matrix, image.shape[2:], patch)
        outside = int(transform.padding_value_seg) if reaches_outside else None
        for found, maps in _alike(known, outside).items():
            chosen = rows(maps, labels)
            windows.labels[window, chosen] = sample_labels(labels[window, chosen], grid, found, outside=outside)


def sampling_matrix(affine: np.ndarray, shape: tuple[int, ...], patch: tuple[int, ...]) -> np.ndarray:
    """Return what `affine_grid` takes, (d, d + 1), for a matrix (d, d) that acts on voxels around the middle.

    Torch counts axes from the last to the first, and -1 to 1 from edge to edge: of the patch, and of the window.
    """
    dims = len(shape)
    scaled = affine * np.asarray(patch)[None, :] / np.asarray(shape)[:, None]
    return np.concatenate([scaled[::-1, ::-1], np.zeros((dims, 1))], axis=1)


def labels_present(labels: Tensor) -> list[list[list[int]]]:
    """Return the labels, from -1 on, of each map (B, G, *S); alone in the pipeline, this waits for the device."""
    flat = labels.flatten(2).long() + 1
    most = int(flat.amax()) + 1
    counts = torch.zeros((*flat.shape[:2], most), dtype=torch.bool, device=labels.device)
    counts.scatter_(2, flat, True)
    return [[(torch.nonzero(found).flatten() - 1).tolist() for found in window] for window in counts.cpu()]


def _alike(present: list[list[int]], outside: int | None) -> dict[tuple[int, ...], list[int]]:
    """Return the maps that hold the same labels, by these labels in rising order, the one outside included."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for index, found in enumerate(present):
        known = {*found} if outside is None else {*found, outside}
        alike.setdefault(tuple(sorted(known)), []).append(index)
    return alike


def sample_labels(labels: Tensor, grid: Tensor, known: tuple[int, ...], *, outside: int | None) -> Tensor:
    """Return maps of labels at the points of a grid.

    Args:
        labels: (M, *S) whole numbers.
        grid: (*P, d) as `grid_sample` takes it.
        known: the labels that can win, in rising order.
        outside: the label outside of the maps; None where no point reaches there.

    Returns:
        (M, *P) of the same type.
    """
    shape = (len(labels), *grid.shape[:-1])
    if len(known) == 1:
        return labels.new_full(shape, known[0])
    shift = float(outside or 0)
    nearest = _sampled(labels.float() - shift, grid, mode="nearest").add_(shift).to(labels.dtype)
    if len(known) == 2:
        score = _score(labels, grid, known[1], outside=outside)
        winner = torch.where(score > SCORE / 2, known[1], known[0]).to(labels.dtype)
        return torch.where(score == SCORE / 2, nearest, winner)
    best = of_nearest = torch.full(shape, -math.inf, dtype=torch.float16, device=grid.device)
    winner = torch.zeros_like(nearest)
    for label in known:
        score = _score(labels, grid, label, outside=outside)
        winner.masked_fill_(score > best, label)
        best = torch.maximum(best, score)
        of_nearest = torch.where(nearest == label, score, of_nearest)
    return torch.where(of_nearest == best, nearest, winner)


def mirror(windows: Windows, drawn: Drawn, transform: MirrorTransform) -> None:  # noqa: ARG001
    """Mirror each window along the axes drawn for it."""
    for window, parameters in drawn.items():
        axes = [axis + 1 for axis in parameters["axes"]]
        if axes:
            windows.image[window] = windows.image[window].flip(axes)
            windows.labels[window] = windows.labels[window].flip(axes)


def fold_slices(windows: Windows, drawn: Drawn, transform: Convert3DTo2DTransform) -> None:  # noqa: ARG001
    """Make channels of the slices, (B, C, D, H, W) to (B, C*D, H, W), so that all is done in plane."""
    windows.volumes = (windows.image.shape[1], windows.labels.shape[1])
    windows.image, windows.labels = windows.image.flatten(1, 2), windows.labels.flatten(1, 2)


def unfold_slices(windows: Windows, drawn: Drawn, transform: Convert2DTo3DTransform) -> None:  # noqa: ARG001
    """Undo `fold_slices`."""
    assert windows.volumes is not None, "slices are unfolded that were not folded"
    channels, maps = windows.volumes
    windows.image, windows.labels = _volumes(windows.image, channels), _volumes(windows.labels, maps)
    windows.volumes = None


def _volumes(slices: Tensor, channels: int) -> Tensor:
    windows, _, *plane = slices.shape
    return slices.view(windows, channels, -1, *plane)


def _middle(values: Tensor, patch: tuple[int, ...], *, outside: float) -> Tensor:
    centre = [length // 2 for length in values.shape[2:]]
    cut: Tensor = crop_tensor(values.flatten(0, 1), centre, patch, pad_mode="constant", pad_kwargs={"value": outside})
    return cut.reshape(*values.shape[:2], *patch).clone(memory_format=torch.contiguous_format)


def _reaches_outside(matrix: np.ndarray, shape: tuple[int, ...], patch: tuple[int, ...]) -> bool:
    """Return whether linear interpolation needs voxels outside: an affine map is furthest out at the corners."""
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=len(shape)))) * (1 - 1 / np.array(patch[::-1]))
    furthest = np.abs(corners @ matrix[:, :-1].T).max()
    return bool(furthest > min(1 - 1 / length for length in shape))


def _score(labels: Tensor, grid: Tensor, label: int, *, outside: int | None) -> Tensor:
    """Return (M, *P): how much of a label is at each point, from 0 to SCORE, in half precision."""
    share = (labels == label).float()
    if label == outside:  # 1 outside, where torch samples 0
        return _sampled((share - 1) * SCORE, grid, mode="bilinear").add_(SCORE).half()
    return _sampled(share * SCORE, grid, mode="bilinear").half()


def _sampled(values: Tensor, grid: Tensor, *, mode: str) -> Tensor:
    return grid_sample(values[None], grid[None], mode=mode, padding_mode="zeros", align_corners=False)[0]
