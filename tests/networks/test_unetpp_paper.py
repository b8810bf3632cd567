"""The 2D UNet++ of paper 000 against its structure, written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.slice_network import AuxTerm
from nnunet_spine_ext.networks.unetpp_paper import SpineUNetPPPaper, UNetPPPaperOptions, paper_unetpp_000
from nnunet_spine_ext.training.auxiliary import AuxLoss
from nnunet_spine_ext.training.losses import ProbabilityMSELoss


def small(**options: Any) -> SpineUNetPPPaper:
    torch.manual_seed(0)
    return SpineUNetPPPaper(input_channels=1, num_classes=2, options={"width": 4, **options})


def normalised(norm: nn.Module, x: Tensor) -> Tensor:
    """BatchNorm by the batch."""
    assert isinstance(norm, nn.BatchNorm2d)
    return F.batch_norm(x, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)


def res(block: Any, x: Tensor, stride: int = 1) -> Tensor:
    main = F.conv2d(x, block.main[0].weight, stride=stride, padding=1)
    main = F.conv2d(F.relu(normalised(block.main[1], main)), block.main[3].weight, padding=1)
    point = block.shortcut[0]
    shortcut = normalised(block.shortcut[1], F.conv2d(x, point.weight, point.bias, stride=stride))
    return F.relu((normalised(block.main[4], main) + shortcut) / 2**0.5)


def res_up(block: Any, x: Tensor) -> Tensor:
    main = F.relu(normalised(block.main[1], F.conv2d(x, block.main[0].weight, padding=1)))
    main = normalised(block.main[4], F.conv_transpose2d(main, block.main[3].weight, stride=2))
    # As published: repeated first, then convolved and normalised.
    repeated = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return F.relu((main + normalised(block.shortcut[1], F.conv2d(repeated, block.shortcut[0].weight))) / 2**0.5)


def literal(network: Any, image: Tensor) -> list[Tensor]:
    """Outputs of X03, X02 and X01, node by node."""
    (s0, s1, s2, s3), (d0, d1, d2), n = network.stages, network.downs, network.nodes

    def node(name: str, below: Tensor, left: Tensor) -> Tensor:
        return res(n[name].block, torch.cat((res_up(n[name].up, below), left), dim=1))

    def head(index: int, x: Tensor) -> Tensor:
        path, last = network.heads[index].path, network.heads[index].seg_layers
        x = F.conv2d(res_up(path[0], x), path[1].weight, padding=1)
        return F.conv2d(F.relu(normalised(path[2], x)), last.weight, padding=1)

    x00 = res(s0, image, 2)
    x10 = res(s1, res(d0, x00, 2))
    x20 = res(s2, res(d1, x10, 2))
    x30 = res(s3, res(d2, x20, 2))
    x21 = node("x21", x30, x20)
    x11 = node("x11", x20, x10)
    x12 = node("x12", x21, x11)
    x01 = node("x01", x10, x00)
    x02 = node("x02", x11, x01)
    return [head(2, node("x03", x12, x02)), head(1, x02), head(0, x01)]


def test_equals_its_structure_written_out() -> None:
    network = small().double().train()
    image = torch.randn(2, 1, 48, 32, dtype=torch.float64)
    for one, other in zip(network(image), literal(network, image), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("width", [32, 64])
def test_size_is_a_square_in_the_width(width: int) -> None:
    """1907 h² + 311 h for one channel and one class, added up block by block."""

    def unit(i: int, o: int) -> int:
        return 9 * i * o + 9 * o * o + i * o + o + 3 * 2 * o  # 3x3, 3x3, biased 1x1, three norms

    def up(i: int, o: int) -> int:
        return 9 * i * o + 4 * o * o + i * o + 3 * 2 * o  # 3x3, transposed 2x2, 1x1, three norms

    h = width
    stages = unit(1, h) + unit(h, h) + unit(2 * h, 2 * h) + unit(4 * h, 4 * h)
    downs = unit(h, h) + unit(h, 2 * h) + unit(2 * h, 4 * h)
    nodes = 2 * (up(4 * h, 2 * h) + unit(4 * h, 4 * h)) + (up(2 * h, h) + unit(2 * h, 2 * h))
    nodes += (up(h, h) + unit(2 * h, h)) + (up(2 * h, h) + unit(2 * h, h)) + (up(4 * h, 2 * h) + unit(3 * h, h))
    heads = 3 * (up(h, h) + 9 * h * h + 2 * h + 9 * h)
    found = sum(p.numel() for p in paper_unetpp_000(width=width).parameters())
    assert found == stages + downs + nodes + heads == 1907 * h * h + 311 * h


def test_each_output_is_trained_alike() -> None:
    assert SpineUNetPPPaper.auxiliary({}) == (AuxTerm("seg", 1.0),) * 2
    network, one = small().train(), ProbabilityMSELoss()
    torch.manual_seed(1)
    image, target = torch.randn(2, 1, 32, 32), torch.randint(0, 2, (2, 1, 32, 32))
    outputs = network(image)
    total = AuxLoss(one, network.aux)(outputs, target)
    torch.testing.assert_close(total, sum((one(o, target) for o in outputs), torch.zeros(())))


def test_prediction_returns_the_deepest_output() -> None:
    network = small(norm="instance")
    image = torch.randn(1, 1, 33, 47)
    torch.testing.assert_close(network.eval()(image), network.train()(image)[0])


def test_single_small_slice_in_training_is_refused_with_a_remedy() -> None:
    with pytest.raises(NetworkPlanError, match="one position for its lowest row"):
        small().train()(torch.randn(1, 1, 16, 16))
    small().eval()(torch.randn(1, 1, 16, 16))
    small(norm="group", width=32).train()(torch.randn(1, 1, 16, 16))


def test_wrong_width_is_refused() -> None:
    with pytest.raises(NetworkPlanError, match="width is 0"):
        UNetPPPaperOptions(width=0)
