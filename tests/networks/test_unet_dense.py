"""UNet_Dense: the channels of paper 001's drawing, and its blocks against plain concatenations."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks import registry
from nnunet_spine_ext.networks.blocks.dense import DenseBlock, shares
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.unet_dense import UNetDense, UNetDenseOptions, paper_architecture, paper_unet_dense
from tests.networks.tiny import FLAT, PLANS, gradients, kept_bytes, layers, randomise

PLAN = PLANS["2d"]


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def dense(inputs: int, new: int, *, depth: int) -> int:
    """Weights of a block whose layers are norm (2 c), conv 3x3 with bias."""
    growth = new // depth
    widths = [inputs + i * growth for i in range(depth)]
    return sum(2 * c + 9 * c * growth + growth for c in widths)


def small(**changed: Any) -> UNetDense:
    options = {key: changed.pop(key) for key in ("layers", "recompute", "heads") if key in changed}
    torch.manual_seed(0)
    return UNetDense(input_channels=2, num_classes=3, options=options, **PLAN.words(**changed))


# ---- size --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_papers_network_has_the_channels_of_its_drawing(depth: int) -> None:
    with torch.device("meta"):
        network = paper_unet_dense(layers=depth)
    # Encoder: 32, 64, 128 come in and as many are added; decoder: (256 + 256), (128 + 128), (64 + 64) to 128, 64, 32.
    encoder, decoder = ((32, 32), (64, 64), (128, 128)), ((512, 128), (256, 64), (128, 32))
    expected = (7 * 32 * 9 + 32) + sum(dense(i, o, depth=depth) for i, o in encoder + decoder) + (32 + 1)
    assert count(network) == expected
    for blocks, channels in ((network.encoder.blocks, encoder), (network.decoder.blocks, decoder)):
        first = [block.layers[0].norm.num_features for block in blocks]  # type: ignore[union-attr,index]
        assert first == [i for i, _ in channels]
        made = [sum(layer.conv.out_channels for layer in block.layers) for block in blocks]  # type: ignore[union-attr]
        assert made == [o for _, o in channels]


def test_the_bottom_is_pooled_and_nothing_else() -> None:
    network = paper_unet_dense().eval()
    skips, bottom = network.encoder(torch.randn(1, 7, 32, 16))
    torch.testing.assert_close(bottom, F.max_pool2d(torch.cat(skips[-1], 1), 2))
    assert bottom.shape == (1, 256, 4, 2)


def test_channels_beyond_the_papers_levels_follow_the_plan() -> None:
    # features 4 8 16 16: what comes into a level is the stem's and all that the levels above add.
    network = small()
    first = [block.layers[0].norm.num_features for block in network.encoder.blocks]  # type: ignore[union-attr,index]
    assert first == [4, 4 + 4, 4 + 4 + 8]
    into = [block.layers[0].norm.num_features for block in network.decoder.blocks]  # type: ignore[union-attr,index]
    # Bottom 32 + skip 32, then 16 + 16, then 8 + 8.
    assert into == [64, 32, 16]


def test_new_channels_are_shared_out() -> None:
    assert shares(32, 4) == [8, 8, 8, 8]
    assert shares(10, 4) == [3, 3, 2, 2]
    assert shares(2, 4) == [1, 1]


# ---- the block ---------------------------------------------------------------------------------------------------


def plain_block(block: Any, *inputs: Tensor) -> Tensor:
    """The block's definition: concatenate everything, once for every layer."""
    seen = torch.cat([F.interpolate(x, size=inputs[-1].shape[2:], mode="nearest") for x in inputs], 1)
    start = seen.shape[1]
    for layer in block.layers:
        mean, var = seen.mean((2, 3), keepdim=True), seen.var((2, 3), keepdim=True, unbiased=False)
        if isinstance(layer.norm, nn.BatchNorm2d):
            mean, var = seen.mean((0, 2, 3), keepdim=True), seen.var((0, 2, 3), keepdim=True, unbiased=False)
        normed = (seen - mean) / (var + layer.norm.eps).sqrt()
        normed = normed * layer.norm.weight[:, None, None] + layer.norm.bias[:, None, None]
        active = torch.where(normed > 0, normed, 0.01 * normed)
        seen = torch.cat((seen, F.conv2d(active, layer.conv.weight, layer.conv.bias, padding=1)), 1)
    return seen[:, start:]


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d, nn.BatchNorm2d])
@pytest.mark.parametrize("recompute", [False, True])
def test_block_equals_plain_concatenation_and_so_do_its_gradients(norm: type[nn.Module], recompute: bool) -> None:
    torch.manual_seed(1)
    block = DenseBlock(7, 10, layers=layers(FLAT, norm_op=norm), depth=4, recompute=recompute).double()
    randomise(block)
    inputs = [torch.randn(2, c, *size, dtype=torch.float64) for c, size in ((3, (3, 4)), (4, (6, 8)))]
    for x in inputs:
        x.requires_grad_()
    wanted = [*inputs, *block.parameters()]
    new = torch.cat(block(*inputs), 1)
    assert new.shape == (2, 10, 6, 8)
    expected = plain_block(block, *inputs)
    torch.testing.assert_close(new, expected)
    for one, other in zip(gradients(new, wanted), gradients(expected, wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_recomputation_leaves_running_statistics_as_without() -> None:
    torch.manual_seed(2)
    image = torch.randn(2, 2, 16, 16)
    first = small(norm_op=nn.BatchNorm2d, recompute=True)
    second = copy.deepcopy(first)
    for block in (*second.encoder.blocks, *second.decoder.blocks):
        block.recompute = False
    for network in (first, second):
        network(image).sum().backward()
    assert any(name.endswith("running_mean") for name, _ in first.named_buffers())
    for (name, buffer), other in zip(first.named_buffers(), second.buffers(), strict=True):
        torch.testing.assert_close(buffer, other, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d, nn.BatchNorm2d])
def test_concatenations_are_not_kept(norm: type[nn.Module]) -> None:
    image = torch.randn(1, 2, 48, 32)
    frugal, plain = (small(norm_op=norm, recompute=flag) for flag in (True, False))
    assert kept_bytes(frugal, image) < 0.4 * kept_bytes(plain, image)


def test_dropout_is_never_computed_twice() -> None:
    network = small(dropout_op=nn.Dropout2d, dropout_op_kwargs={"p": 0.5})
    assert not any(block.recompute for block in network.encoder.blocks)


# ---- the network -------------------------------------------------------------------------------------------------


def test_network_equals_its_drawing() -> None:
    network = small().double()
    randomise(network)
    image = torch.randn(2, 2, 48, 32, dtype=torch.float64)
    x, skips = network.encoder.stem(image), []
    for block in network.encoder.blocks:
        skips.append(torch.cat((x, plain_block(block, x)), 1))
        x = F.max_pool2d(skips[-1], 2)
    for block, skip in zip(network.decoder.blocks, reversed(skips), strict=True):
        x = plain_block(block, x.repeat_interleave(2, 2).repeat_interleave(2, 3), skip)
    torch.testing.assert_close(network(image), network.decoder.seg_layers[-1](x))


def test_one_head_gives_what_the_last_of_all_gives() -> None:
    every, full = small(), small(heads="full")
    assert len(full.decoder.seg_layers) == 1
    state = every.state_dict()
    last = f"decoder.seg_layers.{len(every.decoder.seg_layers) - 1}."
    heads = {key.replace(last, "decoder.seg_layers.0."): state[key] for key in state if key.startswith(last)}
    full.load_state_dict({k: v for k, v in state.items() if ".seg_layers." not in k} | heads)
    image = PLAN.image(channels=2)
    torch.testing.assert_close(full(image), every(image))


def test_one_head_has_no_deep_supervision() -> None:
    with pytest.raises(NetworkPlanError, match="heads='full'"):
        UNetDense(input_channels=1, num_classes=2, options={"heads": "full"}, deep_supervision=True, **PLAN.words())


def test_a_3d_plan_is_for_the_adapter() -> None:
    with pytest.raises(NetworkPlanError, match="slice by slice"):
        UNetDense(input_channels=1, num_classes=2, **PLANS["5 slices"].words())


def test_the_papers_choices_replace_the_plans_layers() -> None:
    network = UNetDense(
        input_channels=1, num_classes=2, options={"norm": "batch", "activation": "relu"}, **PLAN.words()
    )
    kinds = {type(layer) for block in network.encoder.blocks for layer in (block.layers[0].norm, block.layers[0].act)}  # type: ignore[index,union-attr]
    assert kinds == {nn.BatchNorm2d, nn.ReLU}


def test_a_patch_says_nothing_where_nothing_is_dilated() -> None:
    with pytest.raises(NetworkPlanError, match="patch_size has no effect"):
        UNetDenseOptions(patch_size=(48, 32))


def test_no_layers_are_refused() -> None:
    with pytest.raises(NetworkPlanError, match="layers is 0"):
        UNetDenseOptions(layers=0)


def test_the_papers_words_build_through_the_registry() -> None:
    words = {**paper_architecture(), "options": {"heads": "full"}}
    network = registry.build("unet-dense-001", words, input_channels=1, num_classes=1, patch_size=(3, 16, 16))
    assert count(network) == 1_125_665
    assert network.eval()(torch.randn(1, 1, 3, 16, 16)).shape == (1, 1, 3, 16, 16)
