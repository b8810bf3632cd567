from __future__ import annotations

import pickle

import pytest
import torch

from nnunet_spine_ext.training.augmentation import AxisFlips


def sample() -> dict[str, torch.Tensor]:
    values = torch.arange(24).reshape(1, 2, 3, 4)
    return {"image": values.float(), "segmentation": values.clone()}


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1, 2), ()])
def test_certain_flips_mirror_image_and_labels_alike(axes: tuple[int, ...]) -> None:
    result = AxisFlips(axes, probability=1)(**sample())
    expected = torch.flip(sample()["image"], [a + 1 for a in axes])
    assert torch.equal(result["image"], expected)
    assert torch.equal(result["segmentation"].float(), expected)


def test_each_axis_flips_independently_in_three_of_ten_samples() -> None:
    torch.manual_seed(0)
    transform = AxisFlips((0, 1, 2), probability=0.3)
    draws = [transform.get_parameters()["axes"] for _ in range(4000)]
    # Standard error of a share of 4000 draws: 0.007.
    for axis in (0, 1, 2):
        assert sum(axis in d for d in draws) / 4000 == pytest.approx(0.3, abs=0.03)
    assert sum({0, 1} <= set(d) for d in draws) / 4000 == pytest.approx(0.09, abs=0.02)


def test_forbidden_axes_are_never_flipped() -> None:
    transform = AxisFlips((0, 2), probability=0.9)
    assert all(1 not in transform.get_parameters()["axes"] for _ in range(200))


def test_impossible_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="probability"):
        AxisFlips((0,), probability=1.5)


def test_can_be_sent_to_another_process() -> None:
    result = pickle.loads(pickle.dumps(AxisFlips((1,), probability=1)))(**sample())
    assert torch.equal(result["image"], torch.flip(sample()["image"], [2]))
