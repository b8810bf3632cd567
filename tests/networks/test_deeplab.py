"""DeepLabV3 and DeepLabV3+ against torchvision's network, explicit forms, and their size term by term."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from nnunet_spine_ext.networks.backbones.aspp import ASPP, rates_at
from nnunet_spine_ext.networks.deeplab_options import DeepLabOptions
from nnunet_spine_ext.networks.deeplabv3 import DeepLabV3, paper_deeplabv3
from nnunet_spine_ext.networks.deeplabv3plus import DeepLabV3Plus, paper_deeplabv3plus
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError

SMALL: dict[str, Any] = {"encoder": "test_resnet", "width": 8}
RESNET101, CLASSES = 42_493_888, 20
NETWORKS = (DeepLabV3, DeepLabV3Plus)


def weights(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def on_meta(network: type[DeepLabV3] | type[DeepLabV3Plus], **options: Any) -> nn.Module:
    with torch.device("meta"):
        return network(input_channels=1, num_classes=CLASSES, options=options)


def torchvisions(classes: int) -> nn.Module:
    model: nn.Module = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=classes, aux_loss=False
    )
    model.backbone["conv1"] = nn.Conv2d(1, 64, 7, 2, 3, bias=False)  # type: ignore[index, operator]
    return model.eval()


def test_deeplabv3_is_torchvisions() -> None:
    torch.manual_seed(0)
    reference = torchvisions(4)
    ours = paper_deeplabv3(encoder="resnet50", num_classes=4).eval()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
    pairs = list(zip(ours.state_dict().values(), reference.state_dict().values(), strict=True))
    assert [tuple(a.shape) for a, _ in pairs] == [tuple(b.shape) for _, b in pairs]
    with torch.no_grad():
        for mine, theirs in pairs:
            mine.copy_(theirs)
        image = torch.randn(1, 1, 64, 96)
        torch.testing.assert_close(ours(image), reference(image)["out"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("stride", "rates"), [(8, (12, 24, 36)), (16, (6, 12, 18)), (32, (3, 6, 9))])
def test_branches_reach_as_far_in_the_image_at_every_output_stride(stride: int, rates: tuple[int, ...]) -> None:
    assert rates_at(stride) == rates
    aspp = ASPP(1, 1, output_stride=stride, norm="batch", dropout=0.0).eval()
    size = 2 * rates[-1] + 9
    impulse = torch.zeros(1, 1, size, size)
    impulse[0, 0, size // 2, size // 2] = 1
    for branch, rate in zip(aspp.branches, (0, *rates), strict=True):
        nn.init.ones_(branch[0].weight)  # type: ignore[index, arg-type]
        hit = branch(impulse)[0, 0].nonzero() - size // 2
        assert {tuple(h) for h in hit.tolist()} == {(a, b) for a in (-rate, 0, rate) for b in (-rate, 0, rate)}


def test_aspp_is_its_branches_side_by_side() -> None:
    torch.manual_seed(0)
    aspp = ASPP(6, 4, output_stride=16, norm="batch", dropout=0.5).double().eval()
    x = torch.randn(2, 6, 7, 9, dtype=torch.float64)
    scale = (1 + 1e-5) ** -0.5  # of an untrained BatchNorm in evaluation

    def conv(weight: Tensor, rate: int) -> Tensor:
        return (functional.conv2d(x, weight, padding=rate, dilation=max(rate, 1)) * scale).clamp(min=0)

    branches: Any = aspp.branches
    parts = [conv(branch[0].weight, rate) for branch, rate in zip(branches, (0, 6, 12, 18), strict=True)]
    mean = x.mean((2, 3))
    assert aspp.pooled.conv.bias is not None
    pooled = (mean @ aspp.pooled.conv.weight[:, :, 0, 0].T + aspp.pooled.conv.bias).clamp(min=0)
    parts.append(pooled[:, :, None, None].expand(-1, -1, 7, 9))
    fuse: Any = aspp.fuse
    expected = (functional.conv2d(torch.cat(parts, 1), fuse[0][0].weight) * scale).clamp(min=0)
    torch.testing.assert_close(aspp(x), expected)


def aspp_weights(*, pooled_norm: bool) -> int:
    norm, branch = 2 * 256, 2048 * 256
    pooled = branch + (norm if pooled_norm else 256)
    return (branch + norm) + 3 * (9 * branch + norm) + pooled + 5 * 256 * 256 + norm


@pytest.mark.parametrize("pooled_norm", [True, False])
def test_sizes_term_by_term(pooled_norm: bool) -> None:
    common = RESNET101 + aspp_weights(pooled_norm=pooled_norm)
    unit, classify = 256 * 256 * 9 + 512, (256 + 1) * CLASSES
    assert weights(on_meta(DeepLabV3, pooled_norm=pooled_norm)) == common + unit + classify
    detail = 256 * 48 + 2 * 48
    fuse = (256 + 48) * 256 * 9 + 512
    assert weights(on_meta(DeepLabV3Plus, pooled_norm=pooled_norm)) == common + detail + fuse + unit + classify


def test_ours_has_a_bias_where_the_published_forms_have_a_norm() -> None:
    # Scale and shift of 256 channels against a bias.
    assert weights(on_meta(DeepLabV3)) == 58_624_468 - 256
    assert weights(on_meta(DeepLabV3Plus)) == 59_337_780 - 256
    with torch.device("meta"):
        assert weights(paper_deeplabv3()) == 58_624_468
        assert weights(paper_deeplabv3plus()) == 59_337_780


@pytest.mark.parametrize("network", NETWORKS)
def test_without_context_one_unit_stands_for_the_branches(network: Any) -> None:
    difference = weights(on_meta(network)) - weights(on_meta(network, context="none"))
    assert difference == aspp_weights(pooled_norm=False) - (2048 * 256 + 2 * 256)
    small = network(input_channels=1, num_classes=3, options={**SMALL, "context": "none"}).eval()
    assert small(torch.randn(1, 1, 40, 56)).shape == (1, 3, 40, 56)


@pytest.mark.parametrize(("stride", "dilations"), [(8, (4, 8, 16)), (16, (2, 4, 8)), (32, (1, 2, 4))])
def test_multi_grid_dilates_in_the_ratio_1_2_4(stride: Any, dilations: tuple[int, ...]) -> None:
    options = {"multi_grid": True, "output_stride": stride, "encoder": "resnet50"}
    network: Any = on_meta(DeepLabV3Plus, **options)
    blocks = network.encoder.network.layer4
    assert [block.conv2.dilation[0] for block in blocks] == list(dilations)
    assert DeepLabOptions(output_stride=stride).last_dilations == ()


def test_detail_of_the_quarter_map_reaches_the_logits() -> None:
    torch.manual_seed(0)
    network = DeepLabV3Plus(input_channels=1, num_classes=3, options=SMALL).eval()
    features = network.encoder(torch.randn(1, 1, 64, 64))
    plain = network.logits(features, (64, 64))
    assert plain.shape == (1, 3, 16, 16)
    features[1] = features[1] + 1
    assert not torch.allclose(network.logits(features, (64, 64)), plain)


@pytest.mark.parametrize("network", NETWORKS)
def test_one_slice_trains_unless_the_published_norm_is_asked_for(network: Any) -> None:
    image = torch.randn(1, 1, 48, 48)
    network(input_channels=1, num_classes=3, options=SMALL).train()(image)
    with pytest.raises(NetworkPlanError, match="pooled_norm=False"):
        network(input_channels=1, num_classes=3, options={**SMALL, "pooled_norm": True}).train()(image)


@pytest.mark.parametrize("network", NETWORKS)
def test_second_head_is_for_training_only(network: Any) -> None:
    built = network(input_channels=1, num_classes=3, options={**SMALL, "aux": True})
    image = torch.randn(1, 1, 90, 70)
    assert [tuple(o.shape) for o in built.train()(image)] == [(1, 3, 90, 70)] * 2
    assert isinstance(built.eval()(image), Tensor)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(NetworkPlanError, match=r"context is 'ppm'.*width is -1"):
        DeepLabOptions(context="ppm", width=-1)  # type: ignore[arg-type]
