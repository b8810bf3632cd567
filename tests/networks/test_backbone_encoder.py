"""Published encoders: sizes, widths and weights as published; the ways in which ours differ."""

from __future__ import annotations

import copy
import pickle
import socket
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.densenet import DenseBlock, DenseNetEncoder
from nnunet_spine_ext.networks.backbones.encoder import BackboneEncoder
from nnunet_spine_ext.networks.backbones.layers import PooledUnit
from nnunet_spine_ext.networks.backbones.norms import GroupNorm, replace_norms
from nnunet_spine_ext.networks.backbones.options import BackboneOptions
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from tests.networks.tiny import kept_bytes

# (name, weights for images of one channel, widths): torchvision's and timm's published networks without classifier.
PUBLISHED = {
    "resnet18": (11_170_240, (64, 64, 128, 256, 512)),
    "resnet34": (21_278_400, (64, 64, 128, 256, 512)),
    "resnet50": (23_501_760, (64, 256, 512, 1024, 2048)),
    "resnet101": (42_493_888, (64, 256, 512, 1024, 2048)),
    "resnet101s": (42_622_784, (128, 256, 512, 1024, 2048)),
    "resnext50_32x4d": (22_973_632, (64, 256, 512, 1024, 2048)),
    "res2net101d": (43_176_344, (64, 256, 512, 1024, 2048)),
    "res2net101_26w_4s": (43_151_416, (64, 256, 512, 1024, 2048)),
    "densenet169": (12_478_208, (64, 256, 512, 1280, 1664)),
}
SMALL = "test_resnet"


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_encoder_has_the_published_size_and_five_resolutions(name: str, output_stride: int) -> None:
    with torch.device("meta"):
        encoder = BackboneEncoder(name, input_channels=1, output_stride=output_stride).eval()
        maps = encoder(torch.empty(2, 1, 90, 70))
    assert (sum(p.numel() for p in encoder.parameters()), encoder.channels) == PUBLISHED[name]
    strides = [min(2**i, output_stride) for i in range(1, 6)]
    expected = [(2, c, -(-90 // s), -(-70 // s)) for c, s in zip(encoder.channels, strides, strict=True)]
    assert [tuple(m.shape) for m in maps] == expected


def test_our_densenet_takes_published_weights_and_gives_timms_features() -> None:
    torch.manual_seed(0)
    published = timm.create_model("densenet121", pretrained=False, in_chans=1).eval()
    features = timm.create_model("densenet121", pretrained=False, in_chans=1, features_only=True).eval()
    for module in published.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.running_mean)
    state = {key: value for key, value in published.state_dict().items() if not key.startswith("classifier.")}
    features.load_state_dict({key.replace("features.", "features_", 1): value for key, value in state.items()})
    ours = DenseNetEncoder("densenet121", input_channels=1).eval()
    ours.load_state_dict(state)
    image = torch.randn(1, 1, 64, 96)
    with torch.no_grad():
        for one, other in zip(ours(image), features(image), strict=True):
            torch.testing.assert_close(one, other)


def test_a_dilated_dense_block_is_the_plain_one_on_every_second_voxel() -> None:
    torch.manual_seed(0)
    encoders = [DenseNetEncoder("densenet121", input_channels=1, output_stride=s).eval() for s in (32, 16)]
    plain, dilated = (e.features["denseblock4"] for e in encoders)
    assert isinstance(plain, DenseBlock)
    dilated.load_state_dict(plain.state_dict())
    x = torch.randn(1, 512, 6, 8)
    with torch.no_grad():
        whole = dilated(x)
        for row in (0, 1):
            for column in (0, 1):
                torch.testing.assert_close(whole[..., row::2, column::2], plain(x[..., row::2, column::2]))


def test_recomputation_changes_neither_results_nor_gradients_nor_running_statistics() -> None:
    torch.manual_seed(0)
    kept = DenseNetEncoder("densenet121", input_channels=1, output_stride=16).train()
    again = DenseNetEncoder("densenet121", input_channels=1, output_stride=16, recompute=True).train()
    again.load_state_dict(kept.state_dict())
    image = torch.randn(2, 1, 32, 48)
    for encoder in (kept, again):
        encoder(image)[-1].square().mean().backward()
    for (name, one), other in zip(kept.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, msg=name)
    state = again.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in kept.state_dict().items())
    assert state["features.denseblock1.denselayer2.norm1.num_batches_tracked"] == 1
    assert kept_bytes(again, image) < 0.6 * kept_bytes(kept, image)


def test_compiled_recomputation_updates_running_statistics_once() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    encoder = DenseNetEncoder("densenet121", input_channels=1, recompute=True).train()
    block = encoder.features["denseblock1"]
    x = torch.randn(2, 64, 8, 8, requires_grad=True)
    compiled: Any = torch.compile(block, fullgraph=True, backend="aot_eager")
    compiled(x).square().mean().backward()
    norm = block["denselayer1"].norm1  # type: ignore[index]
    torch.testing.assert_close(norm.running_mean, 0.1 * x.detach().mean((0, 2, 3)))
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("name", ["densenet121", "test_efficientnet"])
def test_conversion_for_several_gpus_loses_no_nonlinearity(name: str) -> None:
    torch.manual_seed(0)
    encoder = BackboneEncoder(name, input_channels=1, output_stride=32).eval()
    image = torch.randn(1, 1, 64, 64)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(encoder))
    assert any(isinstance(m, nn.SyncBatchNorm) for m in converted.modules())
    for one, other in zip(converted(image), encoder(image), strict=True):
        torch.testing.assert_close(one, other)


def test_that_conversion_does_lose_those_of_timms_own_densenet() -> None:
    """The trap that the test above is about; if it ever closes, `replace_norms` need not take norms apart."""
    published = timm.create_model("densenet121", pretrained=False, in_chans=1, features_only=True).eval()
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(published))
    image = torch.randn(1, 1, 64, 64)
    assert float(published(image)[0].detach().min()) >= 0
    assert float(converted(image)[0].detach().min()) < 0


@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("name", [SMALL, "test_efficientnet", "densenet121"])
def test_other_norms_replace_every_batchnorm(name: str, norm: Any) -> None:
    torch.manual_seed(0)
    encoder = BackboneEncoder(name, input_channels=1, norm=norm).train()
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in encoder.modules())
    # So an image's features do not depend on the rest of its batch, in training too.
    batch = torch.randn(2, 1, 64, 64)
    for both, alone in zip(encoder(batch), encoder(batch[1:]), strict=True):
        torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (48, 16), (26, 2), (7, 1)])
def test_groups_divide_the_channels(channels: int, groups: int) -> None:
    assert GroupNorm(channels).num_groups == groups


def test_group_norm_gives_back_the_type_it_got_under_autocast() -> None:
    x = torch.randn(1, 8, 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert GroupNorm(8)(x).dtype == torch.bfloat16


def test_replacing_counts_what_it_found() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))
    assert replace_norms(model, "group") == 2
    assert replace_norms(model, "group") == 0


@pytest.mark.parametrize(
    ("name", "blocks", "norms", "last"),
    [("resnet18", 8, 20, "bn2"), ("resnet50", 16, 53, "bn3"), ("res2net101d", 33, 33 * 5 + 4 + 3, "bn3")],
)
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_scales_begin_with_one_and_at_the_end_of_a_residual_block_with_a_tenth(
    name: str, blocks: int, norms: int, last: str, norm: Any
) -> None:
    encoder = BackboneEncoder(name, input_channels=1, norm=norm)
    found = {n: m.weight for n, m in encoder.named_modules() if isinstance(m, (nn.BatchNorm2d, nn.GroupNorm))}
    assert len(found) == norms
    small = {n for n, weight in found.items() if bool((weight == 0.1).all())}
    assert len(small) == blocks
    assert {n.rsplit(".", 1)[1] for n in small} == {last}
    assert all(bool((weight == 1).all()) for n, weight in found.items() if n not in small)


def test_dilations_of_the_last_stage_can_be_set() -> None:
    encoder = BackboneEncoder("resnet50", input_channels=1, output_stride=16, last_dilations=(2, 4, 8)).eval()
    stage: Any = encoder.network.layer4
    assert [block.conv2.dilation for block in stage] == [(2, 2), (4, 4), (8, 8)]
    assert [block.conv1.dilation for block in stage] == [(1, 1)] * 3
    assert encoder(torch.zeros(1, 1, 40, 40))[-1].shape[2:] == (3, 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet9000", {}, "timm .* has no encoder 'resnet9000'"),
        ("vgg16_bn", {"output_stride": 16}, "vgg16_bn cannot be built with output stride 16"),
        ("convnext_atto", {}, r"features at strides \[4, 8, 16, 16\], needed are \[2, 4, 8, 16, 16\]"),
        ("densenet121", {"last_dilations": (2, 4)}, "densenet121 is no ResNet"),
    ],
)
def test_an_encoder_that_cannot_be_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(NetworkPlanError, match=message):
        BackboneEncoder(name, input_channels=1, **options)


def test_a_norm_without_effect_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with torch.device("meta"), caplog.at_level("WARNING"):
        BackboneEncoder("resnet18", input_channels=1, norm="instance")
        BackboneEncoder("resnet50_gn", input_channels=1)
        assert not caplog.text
        BackboneEncoder("resnet50_gn", input_channels=1, norm="instance")
    assert "The encoder resnet50_gn has no BatchNorm; norm='instance' changes nothing in it." in caplog.text


def test_slices_that_leave_one_value_are_refused_in_training_only() -> None:
    encoder = BackboneEncoder(SMALL, input_channels=1, output_stride=16).train()
    with pytest.raises(NetworkPlanError, match=r"Slices of \(16, 9\) leave one voxel at output stride 16"):
        encoder(torch.zeros(1, 1, 16, 9))
    encoder(torch.zeros(2, 1, 16, 9))
    encoder(torch.zeros(1, 1, 17, 9))
    encoder.eval()(torch.zeros(1, 1, 16, 9))
    instance = BackboneEncoder(SMALL, input_channels=1, output_stride=16, norm="instance").train()
    with pytest.raises(NetworkPlanError, match="leave one voxel"):
        instance(torch.zeros(2, 1, 16, 9))
    BackboneEncoder(SMALL, input_channels=1, output_stride=16, norm="group").train()(torch.zeros(1, 1, 16, 9))


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in (SMALL, "densenet121"):
        BackboneEncoder(name, input_channels=1)


def test_encoder_survives_pickling_and_copying() -> None:
    encoder = BackboneEncoder(SMALL, input_channels=2).eval()
    image = torch.randn(1, 2, 32, 32)
    for other in (pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)):
        assert all(torch.equal(a, b) for a, b in zip(encoder(image), other(image), strict=True))


# ---- averages over grids -----------------------------------------------------------------------------------------


def grid_average(x: Tensor, bins: int) -> Tensor:
    """Cell (i, j) is the mean of rows ⌊i H / n⌋ … ⌈(i + 1) H / n⌉ and columns alike."""
    height, width = x.shape[2:]
    result = x.new_empty(*x.shape[:2], bins, bins)
    for i in range(bins):
        for j in range(bins):
            rows = slice(i * height // bins, -(-(i + 1) * height // bins))
            columns = slice(j * width // bins, -(-(j + 1) * width // bins))
            result[:, :, i, j] = x[:, :, rows, columns].mean((2, 3))
    return result


@pytest.mark.parametrize(("bins", "pooled_norm"), [(1, False), (1, True), (2, False), (3, False), (6, False)])
def test_pooled_unit_is_a_linear_map_of_the_grids_averages(bins: int, pooled_norm: bool) -> None:
    torch.manual_seed(0)
    unit = PooledUnit(5, 4, bins=bins, norm="batch", pooled_norm=pooled_norm).double().eval()
    has_norm = bins > 1 or pooled_norm
    assert isinstance(unit.norm, nn.BatchNorm2d) is has_norm
    assert (unit.conv.bias is None) is has_norm
    x = torch.randn(2, 5, 7, 10, dtype=torch.float64)
    linear = torch.einsum("oc,bchw->bohw", unit.conv.weight[:, :, 0, 0], grid_average(x, bins))
    if has_norm:
        linear = linear / (1 + 1e-5) ** 0.5
    else:
        assert unit.conv.bias is not None
        linear = linear + unit.conv.bias[:, None, None]
    torch.testing.assert_close(unit(x), linear.clamp(min=0))


def test_a_norm_on_the_pooled_branch_needs_two_slices() -> None:
    unit = PooledUnit(4, 4, norm="batch", pooled_norm=True).train()
    unit(torch.randn(2, 4, 3, 3))
    with pytest.raises(NetworkPlanError, match=r"A batch of one slice .* pooled_norm=False"):
        unit(torch.randn(1, 4, 3, 3))
    unit.eval()(torch.randn(1, 4, 3, 3))
    PooledUnit(4, 4, norm="batch").train()(torch.randn(1, 4, 3, 3))


# ---- options -----------------------------------------------------------------------------------------------------


def test_wrong_options_are_named_together() -> None:
    with pytest.raises(NetworkPlanError, match=r"output_stride is 4.*norm is 'layer'.*encoder is ''.*aux is 1"):
        BackboneOptions(encoder="", output_stride=4, aux=1, norm="layer")  # type: ignore[arg-type]
