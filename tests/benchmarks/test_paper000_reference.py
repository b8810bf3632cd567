"""The literal reading of paper 000 is the published network, and ours is the same but for what is named."""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from paper000_reference import LiteralHybrid
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks import hanc
from nnunet_spine_ext.networks.hybrid import SpineHybrid, paper_hybrid
from tests.networks.tiny import gradients

PATCH = (7, 96, 96)
"""The deepest map is 3 x 3: torch refuses to average over a window larger than the map."""


@pytest.mark.parametrize(("width", "published"), [(64, 1_012_865_948), (32, 312_212_956)])
def test_has_the_published_number_of_weights(width: int, published: int) -> None:
    with torch.device("meta"):
        network = LiteralHybrid(width=width)
    assert sum(p.numel() for p in network.parameters()) == published


def darkening_mean(x: Tensor, window: Sequence[int]) -> Tensor:
    """The published mean: zeros beyond the border count; x (B, D, H, W, C)."""
    pool = F.avg_pool3d(x.movedim(-1, 1), tuple(window), stride=1, padding=tuple(w // 2 for w in window))
    return pool.movedim(1, -1)


def matched(literal: LiteralHybrid, ours: SpineHybrid) -> list[tuple[nn.Module, nn.Module]]:
    """Modules of the literal network and of ours that have the same weights, in the literal network's order."""
    pairs: list[tuple[nn.Module, nn.Module]] = [(literal.stem, ours.encoder.stem)]
    for theirs, plane in zip(literal.planes, ours.encoder.planes, strict=True):
        block = plane[0]
        pairs += [(theirs.conv, conv) for conv in block.convs] + [(theirs.point, point) for point in block.points]
        pairs += [(theirs.norms[i % 2], block.norms[i]) for i in range(4)]
    blocks = [*zip(literal.downs, ours.encoder.downs, strict=True), *zip(literal.ups, ours.decoder.ups, strict=True)]
    for theirs, block in [*blocks, (literal.output, ours.decoder.output)]:
        pairs += zip(_units(theirs.main), _units(block.main), strict=True)
        pairs += [(theirs.point, m) for m in [*_units(block.shortcut)] if isinstance(m, nn.Conv3d)]
    for theirs, link in zip(literal.links, ours.links, strict=True):
        pairs += zip(_units(theirs.expand), _units(link.expand), strict=True)
        pairs += zip(_units(theirs.convs), _units(link.branches), strict=True)
        pairs.append((theirs.mix, link.mix))
    return pairs


def _units(module: nn.Module) -> list[nn.Module]:
    kinds = (nn.Conv3d, nn.ConvTranspose3d, nn.GroupNorm, nn.LayerNorm)
    return [m for m in module.modules() if isinstance(m, kinds)]


def copied(pairs: Sequence[tuple[nn.Module, nn.Module]]) -> None:
    """Draw weights for the literal network and give ours the same; norms: one weight for all voxels of a channel."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for theirs, own in pairs:
            for name, parameter in own.named_parameters(recurse=False):
                other = getattr(theirs, name)
                drawn = 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                if isinstance(own, nn.GroupNorm):
                    drawn = (drawn + 1.0 if name == "weight" else drawn).view(-1, 1, 1, 1)
                if isinstance(theirs, nn.LayerNorm):
                    other.copy_(drawn.expand_as(other))
                else:
                    other.copy_(drawn)
        for theirs, own in pairs:  # afterwards: a module used twice has the last weights drawn
            for name, parameter in own.named_parameters(recurse=False):
                other = getattr(theirs, name)
                parameter.copy_(other[:, 0, 0, 0] if isinstance(theirs, nn.LayerNorm) else other)


def test_ours_with_its_repairs_undone_has_the_same_values_and_gradients() -> None:
    literal = LiteralHybrid(width=2, patch=PATCH).double()
    ours = paper_hybrid(width=2).double()
    copied(matched(literal, ours))
    image = torch.randn(2, 1, *PATCH, dtype=torch.float64, requires_grad=True)
    ours.decoder.seg_layers[-1] = nn.Identity()  # what the head reads
    with mock.patch.object(hanc, "box_mean", darkening_mean):
        features = ours(image)
        found = gradients(features, [image])
    expected = literal.features(image)
    torch.testing.assert_close(features, expected)
    torch.testing.assert_close(found, gradients(expected, [image]))
