"""The restated rule against plans that nnU-Net 2.8.1 made (spacing 4.4 x 0.3448 x 0.3448 mm)."""

from __future__ import annotations

import pytest
from torch import nn

from nnunet_spine_ext.networks.default_plan import default_architecture, default_spacing, padded_patch
from nnunet_spine_ext.networks.plan_shape import NetworkPlanError

K1, K3, S1, PLANE, CUBE = [1, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2], [2, 2, 2]
PLANNED = {
    (6, 512, 512): ([K1] * 3 + [K3] * 5, [S1] + [PLANE] * 7, [32, 64, 128, 256, 320, 320, 320, 320]),
    (12, 640, 640): ([K1] * 3 + [K3] * 5, [S1] + [PLANE] * 3 + [CUBE] + [PLANE] * 3, [32, 64, 128, 256] + [320] * 4),
    (8, 640, 320): ([K1] * 3 + [K3] * 4, [S1] + [PLANE] * 3 + [CUBE] + [PLANE] * 2, [32, 64, 128, 256] + [320] * 3),
    (5, 384, 384): ([K1] * 3 + [K3] * 4, [S1] + [PLANE] * 6, [32, 64, 128, 256] + [320] * 3),
    (896, 896): ([[3, 3]] * 8, [[1, 1]] + [[2, 2]] * 7, [32, 64, 128, 256] + [512] * 4),
    (128, 128, 128): ([K3] * 6, [S1] + [CUBE] * 5, [32, 64, 128, 256, 320, 320]),
}


@pytest.mark.parametrize("patch", PLANNED, ids=str)
def test_agrees_with_nnunet(patch: tuple[int, ...]) -> None:
    kernels, strides, features = PLANNED[patch]
    words = default_architecture(patch)
    assert words["kernel_sizes"] == kernels
    assert words["strides"] == strides
    assert words["features_per_stage"] == features
    assert words["conv_op"] is (nn.Conv3d if len(patch) == 3 else nn.Conv2d)
    assert padded_patch(patch, strides) == patch


def test_few_slices_are_read_as_thick() -> None:
    assert default_spacing((12, 128, 128)) == pytest.approx((12.761, 1, 1), abs=1e-3)
    assert default_spacing((96, 128, 128)) == (1, 1, 1)
    assert default_spacing((64, 64)) == (1, 1)


def test_given_spacing_decides() -> None:
    assert default_architecture((16, 64, 64), spacing=(1, 1, 1))["kernel_sizes"][0] == K3


def test_patch_is_padded_to_the_strides_as_nnunet_does() -> None:
    assert padded_patch((12, 500, 130), [[1, 1, 1], [1, 4, 4], [2, 8, 4]]) == (12, 512, 144)


@pytest.mark.parametrize("patch", [(64,), (0, 64, 64), (4, 6, 6)])
def test_patch_without_a_plan_is_refused(patch: tuple[int, ...]) -> None:
    with pytest.raises(NetworkPlanError, match="The patch is"):
        default_architecture(patch)
