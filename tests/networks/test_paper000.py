"""Our preset and the published code of paper 000 are the same network, up to differences that are named and counted."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch
from torch import nn

from nnunet_spine_ext.networks.hybrid import PAPER_OPTIONS, HybridOptions, paper_hybrid
from nnunet_spine_ext.networks.registry import NETWORKS
from tests.networks.paper000_ledger import Mended000, Paper000

# Counted by running the published code: width, UX blocks, HANC links → parameters.
PUBLISHED = {
    (64, True, True): 1_012_865_948,
    (64, True, False): 381_344_668,
    (64, False, True): 933_216_348,
    (64, False, False): 301_695_068,
    (32, True, True): 312_212_956,
}
ARMS = [
    pytest.param(*key, id=f"h{key[0]}-{'ux' if key[1] else 'res'}-{'hanc' if key[2] else 'res'}") for key in PUBLISHED
]
WITH_SECOND_CONV = [
    pytest.param(*key, second_conv, through, id=f"h{key[0]}-{key[1:]}-{second_conv}")
    for key in PUBLISHED
    for second_conv, through in (("2d", 1), ("3d", 3))
    if key[1] or second_conv == "2d"  # the 3D form is one of the UX block
]
CLASSES = 2


@cache
def preset(h: int, *, ux: bool, hanc: bool, second_conv: str = "2d") -> nn.Module:
    with torch.device("meta"):
        return paper_hybrid(
            width=h,
            plane_block="ux" if ux else "res",
            link_block="hanc" if hanc else "res",
            ux_second_conv=second_conv,  # type: ignore[arg-type]
            num_classes=CLASSES,
        )


def parameters(network: nn.Module, *kinds: type[nn.Module]) -> int:
    """All parameters, or those of modules of some kinds."""
    modules = [m for m in network.modules() if isinstance(m, kinds)] if kinds else [network]
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize(("h", "ux", "hanc"), ARMS)
def test_ledger_counts_the_published_code(h: int, ux: bool, hanc: bool) -> None:
    assert sum(Paper000(h, ux=ux, hanc=hanc).total().values()) == PUBLISHED[h, ux, hanc]


def test_ledger_agrees_with_the_published_shares() -> None:
    # Measured on the published code at width 64, in millions: LayerNorm, and never called.
    measured = {(1, 1): (234.4, 75.1), (1, 0): (208.4, 76.5), (0, 1): (210.8, 0.35), (0, 0): (184.8, 1.75)}
    for (ux, hanc), (norm, never_called) in measured.items():
        counts = Paper000(64, ux=bool(ux), hanc=bool(hanc)).total()
        assert (counts["norm"] + counts["dead_norm"]) / 1e6 == pytest.approx(norm, abs=0.05)
        assert (counts["dead"] + counts["dead_norm"]) / 1e6 == pytest.approx(never_called, abs=0.05)


@pytest.mark.parametrize(("h", "ux", "hanc", "second_conv", "through"), WITH_SECOND_CONV)
def test_preset_and_published_code_differ_by_named_terms_only(
    h: int, ux: bool, hanc: bool, second_conv: str, through: int
) -> None:
    network = preset(h, ux=ux, hanc=hanc, second_conv=second_conv)
    paper = Paper000(h, ux=ux, hanc=hanc)
    theirs = paper.total()
    differences = {
        "our norms, one weight per channel": -parameters(network, nn.GroupNorm),
        "their LayerNorm, one weight per voxel": theirs["norm"] + theirs["dead_norm"],
        "their convolutions that are never called": theirs["dead"],
        "our second UX pair; theirs is the first again": -paper.second_pair_of_ours(through=through),
        "our linear heads": -parameters(network.decoder.seg_layers),  # type: ignore[arg-type]
        "their one-channel output block": paper.one_channel_output()["weights"],
    }
    assert parameters(network) + sum(differences.values()) == PUBLISHED[h, ux, hanc]


@pytest.mark.parametrize(("h", "ux", "hanc", "second_conv", "through"), WITH_SECOND_CONV)
def test_preset_has_the_parameters_of_its_ledger(h: int, ux: bool, hanc: bool, second_conv: str, through: int) -> None:
    network = preset(h, ux=ux, hanc=hanc, second_conv=second_conv)
    ours = Mended000(h, ux=ux, hanc=hanc, through=through, classes=CLASSES).total()
    assert parameters(network) == sum(ours.values())
    assert parameters(network, nn.GroupNorm) == ours["norm"]


def test_registry_states_the_published_counts() -> None:
    arms = [row for row in NETWORKS.values() if row.network.endswith(".SpineHybrid")]
    stated = {oracle.published for row in arms for oracle in row.oracles}
    assert stated == set(PUBLISHED.values())


def test_preset_pools_the_plane_to_a_32nd_and_never_the_slices() -> None:
    network = preset(64, ux=True, hanc=True)
    sizes = {}
    for stage, link in enumerate(network.links, start=1):  # type: ignore[arg-type]
        link.register_forward_hook(lambda _m, inputs, _out, stage=stage: sizes.__setitem__(stage, inputs[0].shape))
    with torch.no_grad():
        logits = network(torch.empty(1, 1, 12, 128, 128, device="meta"))
    assert logits.shape == (1, CLASSES, 12, 128, 128)
    assert {s: tuple(size) for s, size in sizes.items()} == {
        s: (1, 64 * 2 ** (s - 1), 12, 128 // 2**s, 128 // 2**s) for s in range(1, 6)
    }


def test_paper_options_are_written_and_read_as_json() -> None:
    assert HybridOptions.of(json.loads(json.dumps(PAPER_OPTIONS.as_json()))) == PAPER_OPTIONS
