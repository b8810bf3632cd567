"""PSPNet against explicit forms, and its size term by term; what every network promises is in test_contracts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.pspnet import BINS, PAPER_003, PSPNet, PSPNetOptions, Pyramid, paper_pspnet

SMALL: dict[str, Any] = {"encoder": "test_resnet", "width": 8}
RESNET34, RESNET101 = 21_278_400, 42_493_888
CLASSES = 20


def small(**options: Any) -> PSPNet:
    torch.manual_seed(0)
    return PSPNet(input_channels=1, num_classes=3, options={**SMALL, **options})


def weights(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def on_meta(**options: Any) -> PSPNet:
    with torch.device("meta"):
        return PSPNet(input_channels=1, num_classes=CLASSES, options=options)


def test_pyramid_puts_each_grid_behind_the_map_at_its_size() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 9, 12)
    grids = [nn.AdaptiveAvgPool2d(bins) for bins in BINS]
    out = Pyramid(grids)(x)
    assert out.shape == (2, 15, 9, 12)
    torch.testing.assert_close(out[:, :3], x)
    # One cell: the mean everywhere.
    torch.testing.assert_close(out[:, 3:6], x.mean((2, 3), keepdim=True).expand(2, 3, 9, 12))
    # Three cells of 3 x 4 voxels: the centre of each is its mean (half-voxel centres, so the middle row is exact).
    middle = functional.avg_pool2d(x, (3, 4))[:, :, 1]
    between = out[:, 9:12, 4, 5:7].mean(-1)
    torch.testing.assert_close(between, 0.125 / 2 * (middle[..., 0] + middle[..., 2]) + 0.875 * middle[..., 1])


def test_original_form_term_by_term() -> None:
    grids = 4 * 2048 * 512
    norms = 2 * 512
    head = grids + 4 * norms + 4096 * 512 * 9 + norms + 512 * CLASSES + CLASSES
    assert weights(on_meta(output_stride=8, pooled_norm=True)) == RESNET101 + head == 65_577_940
    # Ours has a bias of 512 where the 1x1 grid's norm had scale and shift of 512 each.
    assert weights(on_meta()) == 65_577_940 - 2 * 512 + 512
    auxiliary = 1024 * 256 * 9 + 2 * 256 + 256 * CLASSES + CLASSES
    assert weights(on_meta(aux=True)) - weights(on_meta()) == auxiliary == 67_942_888 - 65_577_940


def test_paper_003s_form_term_by_term() -> None:
    grids = 4 * 512 * 512
    squeeze = (5 * 512 + 1) * 1024
    steps = sum((a * 9 + 1) * b + 2 * b + 1 for a, b in ((1024, 256), (256, 64), (64, 64)))
    classify = (64 + 1) * CLASSES
    with torch.device("meta"):
        network = paper_pspnet(encoder="resnet34", head="progressive")
    assert weights(network) == RESNET34 + grids + squeeze + steps + classify == 27_495_511
    assert weights(on_meta(**PAPER_003.as_json())) == 27_495_511


def test_without_context_the_grids_and_their_channels_are_gone() -> None:
    original = weights(on_meta(pooled_norm=True)) - weights(on_meta(context="none"))
    assert original == 4 * 2048 * 512 + 4 * 2 * 512 + 4 * 512 * 512 * 9
    options = PAPER_003.as_json()
    progressive = weights(on_meta(**options)) - weights(on_meta(**options, context="none"))
    assert progressive == 4 * 512 * 512 + 4 * 512 * 1024
    for head in ("original", "progressive"):
        assert small(head=head, context="none").eval()(torch.randn(1, 1, 40, 56)).shape == (1, 3, 40, 56)


@pytest.mark.parametrize(("stride", "steps"), [(8, 3), (16, 4), (32, 5)])
def test_progressive_form_doubles_up_to_the_image(stride: int, steps: int) -> None:
    network = small(head="progressive", output_stride=stride).eval()
    sizes: list[tuple[int, ...]] = []
    for step in network.head.steps:  # type: ignore[union-attr]
        step.register_forward_hook(lambda _module, _inputs, output: sizes.append(tuple(output.shape[2:])))
    assert network(torch.randn(1, 1, 90, 70)).shape == (1, 3, 90, 70)
    assert len(sizes) == steps
    assert sizes[-3:] == [(23, 18), (45, 35), (90, 70)]


def test_second_head_is_for_training_only() -> None:
    network = small(aux=True)
    image = torch.randn(1, 1, 90, 70)
    outputs = network.train()(image)
    assert [tuple(o.shape) for o in outputs] == [(1, 3, 90, 70)] * 2
    assert isinstance(network.eval()(image), torch.Tensor)
    assert [(t.kind, t.weight) for t in PSPNet.auxiliary({"aux": True})] == [("seg", 0.4)]
    assert PSPNet.auxiliary({}) == ()


def test_one_slice_trains_unless_the_published_norm_is_asked_for() -> None:
    image = torch.randn(1, 1, 48, 48)
    small().train()(image)
    with pytest.raises(NetworkPlanError, match="pooled_norm=False"):
        small(pooled_norm=True).train()(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width is 0"),
        ({"head": "fancy"}, "head is 'fancy'"),
        ({"bins": 3}, "no option bins"),
        ({"pooled_norm": "yes"}, "pooled_norm is 'yes'"),
        ({"pooled_norm": True, "norm": "instance"}, "cannot be trained with norm='instance'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkPlanError, match=message):
        PSPNetOptions.of(options)
