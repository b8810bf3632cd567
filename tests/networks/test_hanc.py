"""The link that is never concatenated against the link as it is written down."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Axes
from nnunet_spine_ext.networks.blocks.hanc import HANCLink
from tests.networks.tiny import CUBIC, FLAT, THICK, gradients, kept_bytes, layers, randomise

THICKNESS = (3, 5, 7)
CASES = [
    pytest.param(THICK, (2, 3, 4, 6, 5), id="thick slices, fewer than the window"),
    pytest.param(THICK, (1, 3, 9, 6, 5), id="thick slices"),
    pytest.param(CUBIC, (1, 3, 8, 7, 9), id="isotropic"),
    pytest.param(FLAT, (2, 3, 9, 8), id="2d"),
]


def window_of(axes: Axes, n: int) -> tuple[int, ...]:
    return (n, 3, 3) if axes.has_through_plane else (n,) * axes.dims


def finish(unit: nn.Module, x: Tensor) -> Tensor:
    """Dropout, norm and nonlinearity of one unit, called one after the other."""
    for layer in unit.modules():
        if isinstance(layer, (nn.InstanceNorm2d, nn.InstanceNorm3d)):
            x = F.instance_norm(x, weight=layer.weight, bias=layer.bias, eps=layer.eps)
    return F.leaky_relu(x, 0.01)


def box_mean(x: Tensor, window: tuple[int, ...]) -> Tensor:
    """Sum over the zero-padded box, divided by the number of voxels of the image in it."""
    C, kernel = x.shape[1], torch.ones(1, 1, *window, dtype=x.dtype)
    convolve: Callable[..., Tensor] = F.conv3d if x.dim() == 5 else F.conv2d
    padding = [w // 2 for w in window]
    total = convolve(x, kernel.expand(C, *kernel.shape[1:]), padding=padding, groups=C)
    return total / convolve(torch.ones_like(x[:1, :1]), kernel, padding=padding)


def box_max(x: Tensor, window: tuple[int, ...]) -> Tensor:
    pool: Callable[..., Tensor] = F.max_pool3d if x.dim() == 5 else F.max_pool2d
    return pool(x, window, stride=1, padding=[w // 2 for w in window])


def convolved(link: HANCLink, a: Tensor, index: int, window: tuple[int, ...], form: str) -> Tensor:
    """One convolution with the whole window; the separable form's kernel is the product of its parts."""
    convolve: Callable[..., Tensor] = F.conv3d if a.dim() == 5 else F.conv2d
    branch = link.branches[index]
    padding = [w // 2 for w in window]
    if form == "dense":
        conv = next(m for m in branch.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d)))
        return convolve(a, conv.weight, conv.bias, padding=padding)
    plane = link.planes[0 if len(link.planes) == 1 else index]
    rods = [m for m in branch.modules() if isinstance(m, nn.Conv3d)]
    kernel, bias = plane.weight, None
    if rods:
        kernel, bias = kernel * rods[0].weight, rods[0].bias  # (C, 1, 1, h, w) x (C, 1, n, 1, 1)
    return convolve(a, kernel, bias, padding=padding, groups=a.shape[1])  # type: ignore[arg-type]


def literal(link: HANCLink, x: Tensor, axes: Axes, form: str) -> Tensor:
    """Nine maps, their concatenation, one pointwise convolution."""
    conv = link.expand[0]
    a = finish(link.expand, conv(x))
    windows = [window_of(axes, n) for n in THICKNESS]
    maps = [finish(link.branches[i], convolved(link, a, i, window, form)) for i, window in enumerate(windows)]
    maps += [box_max(a, window) for window in windows]
    maps += [box_mean(a, window) for window in windows]
    return (x + link.mix(torch.cat(maps, dim=1))) / 2**0.5


@pytest.mark.parametrize("recompute", [True, False], ids=["recomputed", "kept"])
@pytest.mark.parametrize("form", ["separable", "dense"])
@pytest.mark.parametrize(("axes", "shape"), CASES)
def test_equals_the_concatenation_in_values_and_gradients(
    axes: Axes, shape: tuple[int, ...], form: str, recompute: bool
) -> None:
    torch.manual_seed(0)
    link = HANCLink(3, layers=layers(axes), form=form, thickness=THICKNESS, expansion=2, recompute=recompute)  # type: ignore[arg-type]
    link.double()
    randomise(link)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    ours, expected = link(x), literal(link, x, axes, form)
    torch.testing.assert_close(ours, expected)
    wanted = [x, *link.parameters()]
    for one, other in zip(gradients(ours, wanted), gradients(expected, wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_pools_see_the_slices_and_no_others() -> None:
    # Slice 0 of 9 changes slices up to half the thickest window away, 3, and no further.
    torch.manual_seed(0)
    link = HANCLink(2, layers=layers(THICK, norm_op=None), thickness=THICKNESS).eval()
    x = torch.randn(1, 2, 9, 6, 6)
    changed = x.clone()
    changed[:, :, 0] += 1
    difference = (link(changed) - link(x)).abs().amax(dim=(0, 1, 3, 4))
    assert (difference[:4] > 0).all()
    assert (difference[4:] == 0).all()


def test_keeps_less_than_the_nine_maps() -> None:
    link = HANCLink(8, layers=layers(THICK))
    x = torch.randn(1, 8, 6, 32, 32, requires_grad=True)
    map_bytes = 4 * x.numel()
    # The input, and for the unit that expands it: its convolution's output and its own.
    assert kept_bytes(link, x) < 3.1 * map_bytes
    assert kept_bytes(HANCLink(8, layers=layers(THICK), recompute=False), x) > 9 * map_bytes


def test_dropout_draws_one_mask_for_forward_and_backward() -> None:
    # Recomputing with another mask would give gradients of another function.
    results = []
    for recompute in (True, False):
        torch.manual_seed(0)
        dropout = {"dropout_op": nn.Dropout3d, "dropout_op_kwargs": {"p": 0.5}}
        link = HANCLink(4, layers=layers(THICK, **dropout), recompute=recompute).double()
        x = torch.randn(1, 4, 5, 6, 6, dtype=torch.float64, requires_grad=True)
        results.append([(y := link(x)), *gradients(y, [x, *link.parameters()])])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_running_statistics_are_updated_once_a_step() -> None:
    link = HANCLink(4, layers=layers(THICK, norm_op=nn.BatchNorm3d))
    link(torch.randn(2, 4, 5, 6, 6)).sum().backward()
    counts = [int(m.num_batches_tracked) for m in link.modules() if isinstance(m, nn.BatchNorm3d)]
    assert counts == [1] * 4
