"""Attention of the published heads against plain loops and explicit formulas, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks import expectation_maximization as em
from nnunet_spine_ext.networks.blocks.channel_attention import ChannelAttention
from nnunet_spine_ext.networks.blocks.expectation_maximization import ExpectationMaximization
from nnunet_spine_ext.networks.blocks.partial_decoder import PartialDecoder
from nnunet_spine_ext.networks.blocks.point_attention import Direction, PointAttention, attention_matrix
from nnunet_spine_ext.networks.blocks.position_attention import PositionAttention, attend
from nnunet_spine_ext.networks.blocks.receptive_field import ReceptiveFieldBlock
from nnunet_spine_ext.networks.blocks.reverse_attention import ReverseAttention, background_probability
from tests.networks.tiny import gradients, randomise


def image(*shape: int, scale: float = 1.0) -> Tensor:
    torch.manual_seed(0)
    return (scale * torch.randn(*shape, dtype=torch.float64)).requires_grad_()


# ---- DANet -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inner", "width"), [(4, 32), (3, 32), (1, 8)], ids=["groups", "no groups", "one channel"])
def test_attended_values_and_gradients_are_those_of_an_explicit_softmax(inner: int, width: int) -> None:
    q, k, v = image(2, inner, 15), image(2, inner, 15, scale=2.0), image(2, width, 15)
    scores = torch.einsum("bci,bcj->bij", q, k)
    exponentials = (scores - scores.amax(2, keepdim=True)).exp()
    weights = exponentials / exponentials.sum(2, keepdim=True)
    expected = torch.einsum("bij,bcj->bci", weights, v)
    found = attend(q, k, v)
    torch.testing.assert_close(found, expected)
    for one, other in zip(gradients(found, (q, k, v)), gradients(expected, (q, k, v)), strict=True):
        torch.testing.assert_close(one, other)


def test_position_attention_adds_what_each_position_attends_to() -> None:
    torch.manual_seed(0)
    block = PositionAttention(16).double()
    randomise(block)
    x = image(2, 16, 3, 4)
    q, k, v = (project(x).detach().numpy().reshape(2, -1, 12) for project in (block.query, block.key, block.value))
    expected = x.detach().numpy().reshape(2, 16, 12).copy()
    for b in range(2):
        for i in range(12):
            weights = np.array([math.exp(q[b, :, i] @ k[b, :, j]) for j in range(12)])
            expected[b, :, i] += block.gamma.item() * sum(w * v[b, :, j] for j, w in enumerate(weights / weights.sum()))
    np.testing.assert_allclose(block(x).detach().numpy().reshape(2, 16, 12), expected)


def test_channel_attention_prefers_what_is_least_alike() -> None:
    block = ChannelAttention().double()
    nn.init.constant_(block.beta, 0.7)
    x = image(2, 5, 3, 4)
    flat = x.detach().numpy().reshape(2, 5, 12)
    expected = flat.copy()
    for b in range(2):
        energy = np.array([[flat[b, c] @ flat[b, d] for d in range(5)] for c in range(5)])
        for c in range(5):
            weights = np.exp(energy[c].max() - energy[c])
            expected[b, c] += 0.7 * sum(w * flat[b, d] for d, w in enumerate(weights / weights.sum()))
    np.testing.assert_allclose(block(x).detach().numpy().reshape(2, 5, 12), expected)


@pytest.mark.parametrize("block", [PositionAttention(16), ChannelAttention()], ids=["position", "channel"])
def test_attention_begins_without_influence(block: nn.Module) -> None:
    x = torch.randn(1, 16, 4, 4)
    assert torch.equal(block(x), x)


def test_energies_beyond_float16_are_summed_in_float32() -> None:
    # 64 positions of 40² are 102 400, where float16 ends at 65 504.
    block = ChannelAttention()
    nn.init.ones_(block.beta)
    x = 40.0 + torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.float16):
        found = block(x.half())
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), block(x.half().float()), atol=0.1, rtol=1e-3)


def test_scores_begin_spread_as_torch_draws_them() -> None:
    torch.manual_seed(0)
    block = PositionAttention(256)
    for conv in (block.query, block.key):
        nn.init.kaiming_normal_(conv.weight)
    wide = block.query.weight.std().item()
    block.initialize_scores()
    for conv in (block.query, block.key):
        # Uniform on ± 1/sqrt(256).
        assert conv.weight.abs().max() <= 1 / 16
        assert conv.weight.std().item() == pytest.approx(1 / 16 / math.sqrt(3), rel=0.02)
    assert wide > 2 * block.query.weight.std().item()


# ---- EMANet ------------------------------------------------------------------------------------------------------


def em_by_hand(features: np.ndarray, bases: np.ndarray, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """features (C, N), bases (C, K) → bases, shares (N, K); one position and one base at a time."""
    positions, count = features.shape[1], bases.shape[1]
    shares = np.zeros((positions, count))
    for _ in range(iterations):
        for n in range(positions):
            exponentials = np.array([math.exp(features[:, n] @ bases[:, k]) for k in range(count)])
            shares[n] = exponentials / exponentials.sum()
        moved = np.zeros_like(bases)
        for k in range(count):
            total = 1e-6 + sum(shares[n, k] for n in range(positions))
            moved[:, k] = sum(features[:, n] * shares[n, k] / total for n in range(positions))
            moved[:, k] /= np.linalg.norm(moved[:, k])
        bases = moved
    return bases, shares


def test_iterations_are_those_of_a_plain_loop() -> None:
    features, bases = image(2, 6, 10).detach(), torch.nn.functional.normalize(image(2, 6, 3).detach(), dim=1)
    found_bases, found_shares = em.expectation_maximization(features, bases, iterations=3)
    for b in range(2):
        expected_bases, expected_shares = em_by_hand(features[b].numpy(), bases[b].numpy(), 3)
        np.testing.assert_allclose(found_bases[b], expected_bases)
        np.testing.assert_allclose(found_shares[b], expected_shares)


def attention(**changed: Any) -> ExpectationMaximization:
    torch.manual_seed(1)
    return ExpectationMaximization(6, bases=3, **changed).double()


def test_block_adds_the_reconstruction() -> None:
    block = attention().eval()
    x = image(2, 6, 4, 5)
    features = block.project(x).detach().flatten(2).numpy()
    rebuilt = []
    for b in range(2):
        bases, shares = em_by_hand(features[b], block.bases[0].numpy(), 3)
        rebuilt.append(np.maximum(bases @ shares.T, 0).reshape(6, 4, 5))
    expected = torch.relu(x + block.norm(block.expand(torch.from_numpy(np.stack(rebuilt)))))
    torch.testing.assert_close(block(x), expected)


def test_bases_begin_with_unit_length() -> None:
    torch.testing.assert_close(attention().bases.norm(dim=1), torch.ones(1, 3, dtype=torch.float64))


def test_bases_move_a_tenth_of_the_way_in_training_and_not_in_evaluation() -> None:
    block = attention()
    x, before = image(3, 6, 4, 5), block.bases.clone()
    block.eval()(x)
    assert torch.equal(block.bases, before)
    features = block.project(x).detach().flatten(2).numpy()
    block.train()(x)
    ends = np.stack([em_by_hand(features[b], before[0].numpy(), 3)[0] for b in range(3)])
    np.testing.assert_allclose(block.bases[0], 0.9 * before[0].numpy() + 0.1 * ends.mean(0))


def test_no_gradient_passes_through_the_iterations() -> None:
    block = attention()
    x = image(2, 6, 4, 5)
    output = block(x)
    assert not any(p.requires_grad for p in block.project.parameters())
    # Through the sum alone: where the output is positive, the gradient is that of the sum.
    (found,) = torch.autograd.grad(output.sum(), [x])
    torch.testing.assert_close(found, (output > 0).double())


def test_ranks_agree_on_the_mean_of_their_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = torch.full((1, 6, 3), 0.5, dtype=torch.float64)
    alone, together = attention(), attention()
    x = image(2, 6, 4, 5)
    before = alone.bases.clone()
    alone(x)
    here = (alone.bases - 0.9 * before) / 0.1
    monkeypatch.setattr(em.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(em.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(em.distributed, "all_reduce", lambda mean: mean.add_(elsewhere))
    together(x)
    torch.testing.assert_close(together.bases, 0.9 * before + 0.1 * (here + elsewhere) / 2)


# ---- PSANet ------------------------------------------------------------------------------------------------------


def matrix_by_hand(values: np.ndarray) -> np.ndarray:
    """values (M, h, w) → A (N, N), by the rule, one pair of positions at a time."""
    _, rows, columns = values.shape
    matrix = np.zeros((rows * columns, rows * columns))
    for i_y in range(rows):
        for i_x in range(columns):
            for j_y in range(rows):
                for j_x in range(columns):
                    channel = (j_y - i_y + rows - 1) * (2 * columns - 1) + (j_x - i_x + columns - 1)
                    matrix[j_y * columns + j_x, i_y * columns + i_x] = values[channel, i_y, i_x]
    return matrix


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (2, 5), (4, 1)])
def test_attention_matrix_follows_the_rule(size: tuple[int, int]) -> None:
    rows, columns = size
    values = image(2, (2 * rows - 1) * (2 * columns - 1), rows, columns).detach()
    found = attention_matrix(values)
    for b in range(2):
        np.testing.assert_array_equal(found[b], matrix_by_hand(values[b].numpy()))


@pytest.mark.parametrize("direction", ["collect", "distribute"])
def test_positions_gather_and_are_sent_what_the_matrix_says(direction: Direction) -> None:
    torch.manual_seed(0)
    block = PointAttention(7, 6, size=(3, 2), direction=direction, norm="batch").double().eval()
    x = image(2, 7, 3, 2)
    reduced = block.reduce(x)
    values = block.attention(reduced).detach().numpy()
    flat = reduced.detach().flatten(2).numpy()
    found = block(x).detach().flatten(2).numpy()
    for b in range(2):
        matrix = matrix_by_hand(values[b])
        matrix = matrix if direction == "collect" else matrix.T
        for p in range(6):
            weights = np.exp(matrix[:, p]) / np.exp(matrix[:, p]).sum()
            np.testing.assert_allclose(found[b, :, p], sum(flat[b, :, k] * weights[k] for k in range(6)))


def test_map_is_made_smaller_corner_on_corner() -> None:
    block = PointAttention(2, 2, size=(2, 2), direction="collect", norm="batch").eval()
    nn.init.zeros_(block.attention[1].weight)  # type: ignore[arg-type]
    nn.init.dirac_(block.reduce[0].weight)  # type: ignore[arg-type]
    x = torch.zeros(1, 2, 3, 3)
    x[0, 0, ::2, ::2] = 4.0
    # The corners alone are read; equal attention is their mean. BatchNorm in evaluation divides by sqrt(1 + 1e-5).
    torch.testing.assert_close(block(x)[0, 0], torch.full((2, 2), 4.0 / math.sqrt(1 + 1e-5)))


# ---- Inf-Net -----------------------------------------------------------------------------------------------------


def test_weight_may_be_applied_before_or_after_the_first_convolution() -> None:
    torch.manual_seed(0)
    block = ReverseAttention(6, 4, 3, edge_width=2, kernels=(3, 3, 3), reverse=True, norm="batch").double()
    x, coarser, edge = image(2, 6, 5, 4), image(2, 3, 3, 2), image(2, 2, 10, 8)
    resize = nn.functional.interpolate
    prior = resize(coarser, size=(5, 4), mode="bilinear")
    weight = prior.exp()[:, :1] / prior.exp().sum(1, keepdim=True)
    reduced = block.norm(block.reduce(weight * x))
    expected = block.seg_layers(block.convs(torch.cat((reduced, resize(edge, size=(5, 4), mode="bilinear")), 1)))
    found = block(x, coarser, edge)
    torch.testing.assert_close(found, expected + prior)
    inputs = (x, coarser, edge, *block.parameters())
    for one, other in zip(gradients(found, inputs), gradients(expected + prior, inputs), strict=True):
        torch.testing.assert_close(one, other)


def test_background_is_what_no_structure_claims() -> None:
    logits = torch.log(torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)).view(1, 3, 1, 1) + 7.0
    assert background_probability(logits).item() == pytest.approx(0.2)
    # One structure, one logit: 1 - σ, as published.
    one = torch.tensor([[[[2.0]]]], dtype=torch.float64)
    assert background_probability(one).item() == pytest.approx(1 - 1 / (1 + math.exp(-2.0)))


def test_refinement_without_weight_reads_the_map_as_it_is() -> None:
    torch.manual_seed(0)
    block = ReverseAttention(6, 4, 3, edge_width=0, kernels=(3, 3), reverse=False, norm="batch").double()
    x, coarser = image(2, 6, 5, 4), image(2, 3, 5, 4)
    expected = block.seg_layers(block.convs(block.norm(block.reduce(x)))) + coarser
    torch.testing.assert_close(block(x, coarser, None), expected)


def test_receptive_field_grows_with_the_branch() -> None:
    """A line of k along each axis, then 3x3 with dilation k: k + 2 k pixels on each side."""
    torch.manual_seed(0)
    block = ReceptiveFieldBlock(1, 2, norm="batch").eval().double()
    for p in block.parameters():
        nn.init.uniform_(p, 0.1, 1.0)
    for branch, side in zip(block.branches, (1, 9, 15, 21), strict=True):
        x = torch.zeros(1, 1, 31, 31, dtype=torch.float64, requires_grad=True)
        (grad,) = torch.autograd.grad(branch(x)[0, :, 15, 15].sum(), [x])
        read = grad[0, 0].nonzero()
        assert (read.amax(0) - read.amin(0) + 1).tolist() == [side, side]


def test_partial_decoder_multiplies_the_levels() -> None:
    torch.manual_seed(0)
    decoder = PartialDecoder(2, 3, norm="batch").double().eval()
    r2, r3, r4 = image(1, 2, 8, 8), image(1, 2, 4, 4), image(1, 2, 2, 2)

    def up(x: Tensor, size: int) -> Tensor:
        return nn.functional.interpolate(x, size=(size, size), mode="bilinear")

    a2 = decoder.factor_r4_at_r3(up(r4, 4)) * r3
    a3 = decoder.factor_r4_at_r2(up(up(r4, 4), 8)) * decoder.factor_r3_at_r2(up(r3, 8)) * r2
    b2 = decoder.fuse_r3(torch.cat((a2, decoder.beside_r3(up(r4, 4))), 1))
    b3 = decoder.fuse_r2(torch.cat((a3, decoder.beside_r2(up(b2, 8))), 1))
    torch.testing.assert_close(decoder(r2, r3, r4), decoder.seg_layers(b3))
    # Nothing at one level: nothing of its product.
    empty = decoder(r2 * 0, r3, r4) - decoder(-r2, r3, r4)
    assert empty.abs().max() > 0
