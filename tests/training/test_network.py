"""Building networks from plans, with a stub in the registry's place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_spine_ext.errors import PlanError
from nnunet_spine_ext.networks import registry
from nnunet_spine_ext.training import network as building
from nnunet_spine_ext.training.trainer import SpineTrainer
from tests.training.stub_network import StubNetwork
from tests.training.tiny import architecture, make_plans


class Named(SpineTrainer):
    network_name = "stub"
    network_options = {"plane_block": "res"}  # noqa: RUF012


@pytest.fixture(autouse=True)
def stub_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the registry build the stub, whatever it is asked for."""

    def build(name: str, words: Mapping[str, Any], **sizes: Any) -> nn.Module:
        assert name == "stub"
        return StubNetwork(**words, **sizes)

    monkeypatch.setattr(registry, "build", build)


def build(plans: dict[str, Any], *, configuration: str = "3d_fullres", deep_supervision: bool = True) -> Any:
    manager = PlansManager(plans)
    return Named.build_network_architecture(manager, manager.get_configuration(configuration), 2, 5, deep_supervision)


def with_options(plans: dict[str, Any], options: dict[str, object]) -> dict[str, Any]:
    for configuration in plans["configurations"].values():
        configuration["architecture"]["arch_kwargs"]["options"] = options
    return plans


@pytest.mark.parametrize(("configuration", "conv"), [("2d", nn.Conv2d), ("3d_fullres", nn.Conv3d)])
def test_a_stock_plan_builds_the_network_of_the_trainer(configuration: str, conv: type[nn.Module]) -> None:
    network = build(make_plans(), configuration=configuration)
    assert isinstance(network.conv, conv)
    assert network.conv.in_channels == 2
    assert network.decoder.seg_layers[0].out_channels == 5
    assert network.words["norm_op"].__name__.startswith("InstanceNorm")
    assert network.words["nonlin"] is nn.LeakyReLU
    assert network.words["dropout_op"] is None


def test_a_residual_encoder_plan_reaches_the_registry_whole() -> None:
    plans = make_plans()
    words = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    words["n_blocks_per_stage"] = words.pop("n_conv_per_stage")
    assert build(plans).words["n_blocks_per_stage"] == [1, 1, 1]


def test_a_plan_that_names_a_network_is_built_as_the_trainer_says() -> None:
    plans = make_plans()
    plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = "nowhere.Absent"
    assert isinstance(build(plans), StubNetwork)


def test_init_of_nnunet_runs_once() -> None:
    assert build(make_plans()).initialised == 1


def test_deep_supervision_is_passed_on_and_never_changes_the_weights() -> None:
    on, off = build(make_plans()), build(make_plans(), deep_supervision=False)
    assert (on.decoder.deep_supervision, off.decoder.deep_supervision) == (True, False)
    assert on.state_dict().keys() == off.state_dict().keys()


def test_the_options_of_the_trainer_replace_those_of_the_plan() -> None:
    plans = with_options(make_plans(), {"plane_block": "ux", "stem_kernel": 27})
    assert build(plans).options == {"plane_block": "res"}


def test_a_trainer_without_options_takes_the_defaults_not_the_plan() -> None:
    class Default(SpineTrainer):
        network_name = "stub"

    manager = PlansManager(with_options(make_plans(), {"plane_block": "res"}))
    network = Default.build_network_architecture(manager, manager.get_configuration("3d_fullres"), 1, 2, True)
    assert network.options == {}


def test_nnunet_calls_it_without_deprecation_warning(recwarn: pytest.WarningsRecorder) -> None:
    build(make_plans())
    assert not [w for w in recwarn if issubclass(w.category, DeprecationWarning) and "signature" in str(w.message)]


def test_a_name_that_cannot_be_imported_is_told() -> None:
    words = {**architecture(3)["arch_kwargs"], "norm_op": "torch.nn.NoSuchNorm"}
    with pytest.raises(PlanError, match=r"norm_op is 'torch.nn.NoSuchNorm'"):
        building.resolve_architecture(words, names=["norm_op"])


def test_wrappers_come_off_in_any_order() -> None:
    inner = nn.Conv2d(1, 1, 1)
    assert building.unwrapped(inner) is inner
    assert building.unwrapped(torch.compile(inner)) is inner


def test_a_network_without_deep_supervision_is_refused_only_when_asked_for_it() -> None:
    building.set_deep_supervision(nn.Conv2d(1, 1, 1), False)
    with pytest.raises(PlanError, match="Conv2d has no deep supervision"):
        building.set_deep_supervision(nn.Conv2d(1, 1, 1), True)


def test_networks_without_a_decoder_carry_the_switch_themselves() -> None:
    network = nn.Identity()
    network.deep_supervision = False
    building.set_deep_supervision(network, True)
    assert network.deep_supervision


def test_without_deep_supervision_only_the_last_head_trains() -> None:
    # DDP stops at a weight that gets no gradient.
    heads = build(make_plans(), deep_supervision=False).decoder.seg_layers
    assert [head.weight.requires_grad for head in heads] == [False, True]
    assert all(head.weight.requires_grad for head in build(make_plans()).decoder.seg_layers)


def test_weights_are_counted() -> None:
    assert building.parameter_count(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))) == 3 * 4 + 4 + 4 + 1
