"""TransUNet: timm's encoder, the patch it is built for, and what is left without its transformer."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.transunet import TransUNet, TransUNetOptions, paper_transunet
from tests.networks.shrink_attention import SHRINK


def transunet(*patch: int, **options: Any) -> TransUNet:
    torch.manual_seed(0)
    return TransUNet(input_channels=1, num_classes=3, patch_size=patch, options={**SHRINK["transunet"], **options})


def test_encoder_has_the_weights_of_timms_hybrid_by_name() -> None:
    with torch.device("meta"):
        ours = paper_transunet().encoder.transformer.state_dict()
        published = timm.create_model(
            "vit_base_r50_s16_224", in_chans=1, num_classes=0, class_token=False, global_pool="", img_size=(224, 224)
        ).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in published.items()}


def test_last_map_is_what_timms_own_forward_gives() -> None:
    encoder = transunet(64, 48).encoder.eval()
    x = torch.randn(2, 1, 64, 48)
    with torch.no_grad():
        tokens = encoder.transformer.forward_features(x)
        maps = encoder(x)
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 32, 24), (128, 16, 12), (256, 8, 6), (32, 4, 3)]
    torch.testing.assert_close(maps[-1], tokens.transpose(1, 2).reshape(2, 32, 4, 3))


def test_patch_that_is_no_multiple_of_16_is_padded_below_and_right() -> None:
    odd, whole = transunet(90, 70).eval(), transunet(96, 80).eval()
    whole.load_state_dict(odd.state_dict(), strict=True)
    x = torch.randn(1, 1, 90, 70)
    padded = torch.zeros(1, 1, 96, 80)
    padded[:, :, :90, :70] = x
    with torch.no_grad():
        torch.testing.assert_close(odd(x), whole(padded)[:, :, :90, :70])


@pytest.mark.parametrize("training", [True, False])
def test_slices_of_another_size_are_refused_with_both_sizes(training: bool) -> None:
    network = transunet(64, 48).train(training)
    # 64 x 40 has as many positions after padding; it is refused all the same.
    with pytest.raises(NetworkPlanError, match=r"TransUNet was built for slices of \(64, 48\) and got \(64, 40\)"):
        network(torch.zeros(1, 1, 64, 40))


def test_without_transformer_slices_of_any_size_are_taken() -> None:
    network = transunet(64, 48, attention="none")
    assert not any(isinstance(m, nn.LayerNorm) for m in network.modules())
    assert network.eval()(torch.zeros(1, 1, 90, 70)).shape == (1, 3, 90, 70)
    network.train()(torch.randn(2, 1, 64, 48)).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_positions_are_told_apart() -> None:
    network = transunet(64, 48).eval()
    nn.init.normal_(network.encoder.transformer.pos_embed)
    flat = network.encoder(torch.zeros(1, 1, 64, 48))[-1].flatten(2)
    assert (flat.std(dim=2) > 1e-3).any()


def test_dropout_is_where_the_paper_has_it() -> None:
    transformer = transunet(64, 48, dropout=0.3).encoder.transformer
    assert transformer.pos_drop.p == 0.3
    for block in transformer.blocks:
        assert (block.mlp.drop1.p, block.mlp.drop2.p) == (0.3, 0.3)
        assert (block.attn.attn_drop.p, block.attn.proj_drop.p) == (0.0, 0.0)


def test_a_single_value_to_normalise_is_refused_in_words() -> None:
    network = transunet(16, 16).train()
    with pytest.raises(NetworkPlanError, match="one position for the transformer"):
        network(torch.randn(1, 1, 16, 16))
    assert network(torch.randn(2, 1, 16, 16)).shape == (2, 3, 16, 16)


def test_options_come_back_from_a_plans_file() -> None:
    options = TransUNetOptions(blocks=(1, 2, 3), dropout=0.0)
    assert options.as_json() == {"blocks": [1, 2, 3], "dropout": 0.0}
    assert TransUNetOptions.of(options.as_json()) == options


def test_wrong_options_are_named() -> None:
    wrong: dict[str, Any] = {"blocks": (1, 2), "width": 40, "depth": 0, "dropout": 1.0}
    with pytest.raises(NetworkPlanError, match=r"depth is 0.*blocks is \(1, 2\).*width is 40.*dropout is 1\.0"):
        TransUNetOptions(**wrong)
    with pytest.raises(NetworkPlanError, match="5 heads do not divide an embedding of 768"):
        TransUNetOptions(heads=5)
