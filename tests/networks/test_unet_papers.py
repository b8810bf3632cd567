"""The papers' own forms, counted on paper: every term of every network, and what differs from the printed numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from nnunet_spine_ext.networks.plan_shape import NetworkPlanError
from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.networks.unet_options import UNetOptions
from nnunet_spine_ext.networks.unet_papers import PAPER_OPTIONS, paper_unet, paper_words

WIDTHS = (64, 128, 256, 512, 1024)


def conv(i: int, o: int, kernel: int = 9, *, bias: bool) -> int:
    return kernel * i * o + bias * o


def double(i: int, o: int, *, bias: bool, norm: bool, kernel: int = 9) -> int:
    """Two convolutions, each with a bias and a norm of two weights per channel, if asked."""
    return conv(i, o, kernel, bias=bias) + conv(o, o, kernel, bias=bias) + norm * 4 * o


def spconv_step(i: int, o: int) -> int:
    return int(3.25 * i * o) + 5 * o + 2 * o  # SPConv with its two norms, and the norm behind it


def classical(inputs: int, widths: Sequence[int], step: Any) -> int:
    """Encoder, bottom, transposed convolutions to half the width (with bias), decoder, one map out."""
    down = sum(step(i, o) for i, o in zip((inputs, *widths[:-1]), widths, strict=True))
    up = sum(4 * 2 * f * f + f + step(2 * f, f) for f in widths[:-1])
    return down + up + widths[0] + 1


def residual_attention(f: int) -> int:
    theta, phi, psi = 4 * f * f + f, 2 * f * f + f, f + 1
    assert theta + phi + psi == 6 * f**2 + 3 * f + 1
    return theta + phi + psi


def cie(c: int) -> int:
    return 3 * (9 * c * c + c) + (3 * c * c + c)


def mfe(c: int) -> int:
    quarter, eighth, half = c // 4, c // 8, c // 2
    ones = sum(n * n + n for n in (quarter, eighth, half, eighth))
    threes = sum(9 * n * n + n for n in (half, eighth, eighth))
    return ones + threes + c + 1


def conv_module(i: int, o: int) -> int:
    return cie(i) + double(i, o, bias=False, norm=True) + mfe(o)


def counted(network: str) -> int:
    row = NETWORKS[network]
    assert len(row.oracles) == 1
    arguments: Any = row.oracles[0].arguments
    with torch.device("meta"):
        return sum(p.numel() for p in paper_unet(**arguments).parameters())


def stated(network: str) -> tuple[int, int]:
    oracle = NETWORKS[network].oracles[0]
    return oracle.parameters, oracle.published


def test_paper_001_unet() -> None:
    total = classical(7, WIDTHS, lambda i, o: double(i, o, bias=True, norm=False))
    assert counted("unet-001") == total == 31_034_049


def test_paper_001_unet_bn() -> None:
    total = classical(7, WIDTHS[:4], lambda i, o: double(i, o, bias=True, norm=True))
    assert counted("unet-bn-001") == total == 7_705_281


PLAIN_002 = classical(3, WIDTHS, lambda i, o: double(i, o, bias=False, norm=True))
RA_002 = sum(residual_attention(f) for f in WIDTHS[:-1])


def test_paper_002_versions_1_and_2() -> None:
    assert counted("ct-unet") == PLAIN_002 == 31_037_633


def test_paper_002_version_3() -> None:
    stem = 3 * 4
    total = stem + classical(4, WIDTHS, lambda i, o: spconv_step(i, o) + spconv_step(o, o))
    assert counted("ct-unet-spconv") == total == 13_025_357


def test_paper_002_version_4_is_its_printed_number_plus_the_weights_it_never_registered() -> None:
    parameters, published = stated("ct-unet-ra")
    assert published == PLAIN_002  # the printed number is that of the U-Net without attention
    assert RA_002 == 2_091_844
    assert counted("ct-unet-ra") == published + RA_002 == parameters == 33_129_477


def test_paper_002_version_5_is_its_printed_number_plus_the_weights_it_never_registered() -> None:
    parameters, published = stated("ct-unet-conv-module")
    plain, module = (lambda i, o: double(i, o, bias=False, norm=True)), conv_module
    steps = [*zip((3, *WIDTHS[:-2]), WIDTHS[:-1], strict=True), *((2 * f, f) for f in WIDTHS[:-1])]
    printed = PLAIN_002 + sum(module(i, o) - plain(i, o) for i, o in steps)
    assert printed == published == 77_414_275
    assert counted("ct-unet-conv-module") == published + RA_002 == parameters == 79_506_119


def test_paper_003_u_net() -> None:
    step = lambda i, o: double(i, o, bias=True, norm=True)  # noqa: E731
    down = step(1, 64) + step(64, 128) + step(128, 256) + step(256, 512) + step(512, 512)
    up = step(1024, 256) + step(512, 128) + step(256, 64) + step(128, 64)
    assert counted("unet-003") == down + up + 64 * 20 + 20 == 13_395_412


def test_paper_003_attention_u_net() -> None:
    step = lambda i, o: double(i, o, bias=True, norm=True)  # noqa: E731
    total = sum(step(i, o) for i, o in zip((1, *WIDTHS[:-1]), WIDTHS, strict=True)) + 64 * 20 + 20
    for c in WIDTHS[:-1]:
        half = c // 2
        gate = 2 * (c * half + half + 2 * half) + (half + 1 + 2)
        total += (9 * 2 * c * c + c + 2 * c) + gate + step(2 * c, c)
    assert counted("attention-unet") == total == 34_878_656


@pytest.mark.parametrize(("network", "dims", "total"), [("unet-2d-004", 2, 14_788_297), ("unet-3d-004", 3, 42_945_353)])
def test_paper_004_u_nets(network: str, dims: int, total: int) -> None:
    step = lambda i, o: double(i, o, bias=True, norm=True, kernel=3**dims)  # noqa: E731
    down = step(1, 64) + step(64, 128) + step(128, 256) + step(256, 512) + step(512, 512)
    up = step(1024, 256) + step(512, 128) + step(256, 64) + step(128, 64)
    transposed = sum(2**dims * c * c + c for c in (512, 256, 128, 64))
    assert counted(network) == down + up + transposed + 64 * 9 + 9 == total


def test_paper_004_prints_the_size_of_the_classical_2d_u_net_for_its_3d_one() -> None:
    classical_2d = classical(1, WIDTHS, lambda i, o: double(i, o, bias=True, norm=True)) + 8 * 65  # nine classes
    assert round(classical_2d / 1e6, 1) == round(stated("unet-3d-004")[1] / 1e6, 1) == 31.0


@pytest.mark.parametrize("network", PAPER_OPTIONS)
def test_paper_options_are_written_and_read_as_json(network: str) -> None:
    options = PAPER_OPTIONS[network]
    assert UNetOptions.of(json.loads(json.dumps(options.as_json()))) == options


@pytest.mark.parametrize("network", PAPER_OPTIONS)
def test_row_and_paper_agree_in_what_the_paper_brought(network: str) -> None:
    # What a row says, the paper's form has too: the paper trainer's options go over those of the row.
    of_paper = PAPER_OPTIONS[network]
    assert all(
        getattr(of_paper, name) == value for name, value in NETWORKS[network].options.items() if name != "slices"
    )


def test_slices_are_halved_only_if_asked() -> None:
    options = PAPER_OPTIONS["unet-3d-004"]
    assert paper_words(options, dims=3)["strides"] == [[1, 1, 1]] + [[2, 2, 2]] * 4
    assert paper_words(options, dims=3, pool_slices=False)["strides"] == [[1, 1, 1]] + [[1, 2, 2]] * 4
    assert paper_words(options)["strides"] == [[1, 1]] + [[2, 2]] * 4


def test_words_need_widths() -> None:
    with pytest.raises(NetworkPlanError, match="name no features"):
        paper_words(UNetOptions())
