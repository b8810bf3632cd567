from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from nnunet_spine_ext.training.deep_supervision import DeepSupervisionLoss, deep_supervision_weights


def test_weights_of_five_outputs_are_those_nnunet_is_known_for() -> None:
    assert deep_supervision_weights(5, keep_lowest=False) == pytest.approx((8 / 15, 4 / 15, 2 / 15, 1 / 15, 0))


def test_two_outputs_train_the_first_alone() -> None:
    assert deep_supervision_weights(2, keep_lowest=False) == (1.0, 0.0)


def test_a_plan_with_two_stages_has_one_output_of_weight_one() -> None:
    assert deep_supervision_weights(1, keep_lowest=False) == (1.0,)
    assert deep_supervision_weights(1, keep_lowest=True) == (1.0,)


def test_lowest_output_keeps_a_gradient_where_asked() -> None:
    weights = deep_supervision_weights(3, keep_lowest=True)
    assert 0 < weights[-1] < 1e-5
    assert sum(weights) == pytest.approx(1)


def test_a_plan_with_one_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="2 stages"):
        deep_supervision_weights(0, keep_lowest=False)


def test_loss_is_the_weighted_sum() -> None:
    loss = DeepSupervisionLoss(nn.MSELoss(), (0.75, 0.25))
    outputs = [torch.full((1, 1, 4), 2.0), torch.full((1, 1, 2), 3.0)]
    assert loss(outputs, [torch.zeros(1, 1, 4), torch.zeros(1, 1, 2)]).item() == pytest.approx(0.75 * 4 + 0.25 * 9)


def test_surplus_outputs_are_an_error_instead_of_untrained() -> None:
    loss = DeepSupervisionLoss(nn.MSELoss(), (0.75, 0.25))
    with pytest.raises(ValueError, match="3 outputs for 2 targets"):
        loss([torch.zeros(1)] * 3, [torch.zeros(1)] * 2)


def test_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(DeepSupervisionLoss(nn.MSELoss(), (1.0,)))).weight_factors == (1.0,)
