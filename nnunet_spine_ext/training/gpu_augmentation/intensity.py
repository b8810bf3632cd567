"""Noise, blur, brightness, contrast, low resolution and gamma of many planes at once.

Each function does to a batch what batchgeneratorsv2's transform of that name does to one window, for the parameters
that the transform itself has drawn; only the noise is drawn here, where it is needed. Nothing waits for the device.

Axes: N planes (channels of windows, `Windows.planes`), *S spatial axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from torch import Tensor
from torch.nn.functional import interpolate, pad

from nnunet_spine_ext.training.gpu_augmentation.windows import Drawn, Windows, column, rows

TRUNCATE = 6.0
"""Width of a blurring kernel in standard deviations, as batchgeneratorsv2 has it."""

EPSILON = 1e-7
"""Smallest range and deviation that gamma divides by, as batchgeneratorsv2 has it."""

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def add_noise(windows: Windows, drawn: Drawn, transform: GaussianNoiseTransform) -> None:
    """Add Gaussian noise; the drawn "variance" is, as in the library, its standard deviation."""
    chosen: list[int] = []
    deviations: list[float] = []
    for window, parameters in drawn.items():
        channels = parameters["apply_idx"].tolist()
        chosen += [windows.plane(window, channel) for channel in channels]
        found = parameters["sigmas"]
        deviations += (
            [float(found)] * len(channels) if transform.synchronize_channels else [float(x) for x in found or ()]
        )
    planes = windows.planes
    if chosen:
        noise = torch.randn((len(chosen), *planes.shape[1:]), dtype=planes.dtype, device=planes.device)
        planes.index_add_(0, rows(chosen, planes), noise.mul_(column(deviations, planes)))


def blur(windows: Windows, drawn: Drawn, transform: GaussianBlurTransform) -> None:
    """Convolve with Gaussian kernels, each plane and axis with its own; borders are reflected."""
    chosen: list[int] = []
    deviations: list[list[float]] = []
    for window, parameters in drawn.items():
        channels = [channel for channel, change in enumerate(parameters["apply_to_channel"].tolist()) if change]
        chosen += [windows.plane(window, channel) for channel in channels]
        found = parameters["sigmas"]
        deviations += [list(found)] * len(channels) if transform.synchronize_channels else [list(x) for x in found]
    if not chosen:
        return
    planes, where = windows.planes, rows(chosen, windows.image)
    blurred = planes[where]
    for axis in range(planes.ndim - 1):
        blurred = blur_axis(blurred, [of_plane[axis] for of_plane in deviations], axis=axis + 1)
    planes.index_copy_(0, where, blurred)


def blur_axis(planes: Tensor, deviations: list[float], *, axis: int) -> Tensor:
    """Return planes (N, *S) convolved along one axis, each with a Gaussian of its own deviation in voxels."""
    kernels = [gaussian_kernel(deviation) for deviation in deviations]
    reach = max(len(kernel) for kernel in kernels) // 2
    weights = torch.stack([pad(kernel, [reach - len(kernel) // 2] * 2) for kernel in kernels])
    margins = [0, 0] * (planes.ndim - 1 - axis) + [reach, reach]
    margins += [0, 0] * (planes.ndim - 1 - len(margins) // 2)
    padded = pad(planes[None], margins, mode="reflect")[0] if reach else planes
    result = torch.zeros_like(planes)
    for shift in range(2 * reach + 1):
        result.addcmul_(padded.narrow(axis, shift, planes.shape[axis]), column(weights[:, shift], planes))
    return result


def gaussian_kernel(deviation: float) -> Tensor:
    """Return the weights, an odd number of them with sum 1, of a Gaussian with this deviation in voxels."""
    width = TRUNCATE * deviation + 0.5
    length = round(width)
    if length % 2 == 0:
        length += 1 if width >= length else -1
    position = torch.arange(length) - (length - 1) / 2
    weights = torch.exp(-0.5 * (position / deviation) ** 2)
    return weights / weights.sum()


def scale_brightness(windows: Windows, drawn: Drawn, transform: MultiplicativeBrightnessTransform) -> None:  # noqa: ARG001
    """Multiply planes by numbers."""
    planes = windows.planes
    chosen, factors = _by_plane(windows, drawn, "multipliers")
    if chosen:
        where = rows(chosen, planes)
        planes.index_copy_(0, where, planes[where] * column(factors, planes))


def scale_contrast(windows: Windows, drawn: Drawn, transform: ContrastTransform) -> None:
    """Multiply the distance from each plane's mean; keep the range, if the transform says so."""
    planes = windows.planes
    chosen, factors = _by_plane(windows, drawn, "multipliers")
    if not chosen:
        return
    where = rows(chosen, planes)
    part = planes[where]
    mean, least, most = _mean(part), part.amin(_spatial(part), keepdim=True), part.amax(_spatial(part), keepdim=True)
    scaled = (part - mean) * column(factors, planes) + mean
    planes.index_copy_(0, where, torch.clamp(scaled, least, most) if transform.preserve_range else scaled)


def correct_gamma(windows: Windows, drawn: Drawn, transform: GammaTransform) -> None:  # noqa: ARG001
    """Raise each plane, scaled to 0..1, to a power; some upside down, some with mean and deviation restored."""
    planes = windows.planes
    chosen, exponents, inverted, retained = _by_plane(windows, drawn, "gamma", "invert_image", "retain_stats")
    if not chosen:
        return
    where = rows(chosen, planes)
    sign = column([1 - 2 * upside_down for upside_down in inverted], planes)
    part = planes[where] * sign
    least, most = part.amin(_spatial(part), keepdim=True), part.amax(_spatial(part), keepdim=True)
    spread = most - least
    curved = ((part - least) / spread.clamp(min=EPSILON)) ** column(exponents, planes) * spread + least
    restored = (curved - _mean(curved)) * (_deviation(part) / _deviation(curved).clamp(min=EPSILON)) + _mean(part)
    retain = column(retained, planes) > 0
    planes.index_copy_(0, where, torch.where(retain, restored, curved) * sign)


def lower_resolution(windows: Windows, drawn: Drawn, transform: SimulateLowResolutionTransform) -> None:  # noqa: ARG001
    """Sample planes at fewer voxels, the nearest ones, and bring them back by linear interpolation."""
    planes = windows.planes
    shape = planes.shape[1:]
    for window, parameters in drawn.items():
        for channel, scales in zip(
            _numbers(parameters["apply_to_channel"]), _numbers(parameters["scales"]), strict=True
        ):
            plane = planes[windows.plane(window, channel)]
            fewer = [round(length * scale) for length, scale in zip(shape, scales, strict=True)]
            coarse = interpolate(plane[None, None], fewer, mode="nearest-exact")
            plane.copy_(interpolate(coarse, shape, mode=_LINEAR[len(shape)])[0, 0])


def _by_plane(windows: Windows, drawn: Drawn, *keys: str) -> tuple[list[Any], ...]:
    """Return the planes that a transform changes, and for each key what it drew for each of them."""
    columns: tuple[list[Any], ...] = ([], *([] for _ in keys))
    for window, parameters in drawn.items():
        channels = _numbers(parameters["apply_to_channel"])
        if channels:
            planes = [windows.plane(window, channel) for channel in channels]
            for values, found in zip(columns, (planes, *(_numbers(parameters[key]) for key in keys)), strict=True):
                values += found
    return columns


def _numbers(drawn: Tensor | Sequence[Any]) -> list[Any]:
    """Return what a transform drew, a tensor or a list, as plain numbers."""
    return drawn.tolist() if isinstance(drawn, Tensor) else list(drawn)


def _spatial(planes: Tensor) -> tuple[int, ...]:
    return tuple(range(1, planes.ndim))


def _mean(planes: Tensor) -> Tensor:
    return planes.mean(_spatial(planes), keepdim=True)


def _deviation(planes: Tensor) -> Tensor:
    return planes.std(_spatial(planes), keepdim=True)
