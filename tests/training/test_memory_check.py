from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nnunet_spine_ext.planning.counting import ConfigurationCounter
from nnunet_spine_ext.training import memory_check
from nnunet_spine_ext.training.memory_check import MemoryCheck, check_memory, planned_memory_gb
from nnunet_spine_ext.training.schedules import adam_with_step_decay
from nnunet_spine_ext.training.trainer import SpineTrainer
from tests.training.tiny import MakeTrainer, make_dataset_json, make_plans

GPU = MemoryCheck(
    needed_gb=16.3,
    planned_gb=8.0,
    device_gb=24.0,
    plans_name="nnUNetPlans",
    trainer="SpineHybridTrainer",
    dataset_id=501,
)


@pytest.mark.parametrize(
    ("plans", "expected"),
    [
        ({"plans_name": "nnUNetPlans"}, 8),
        ({"plans_name": "nnUNetResEncUNetMPlans"}, 8),
        ({"plans_name": "nnUNetResEncUNetLPlans"}, 24),
        ({"plans_name": "nnUNetResEncUNetXLPlans"}, 40),
        ({"plans_name": "SpineHybridPlans", "spine": {"gpu_memory_target_gb": 11.5}}, 11.5),
        ({"plans_name": "nnUNetPlans_24G"}, None),
    ],
)
def test_target_behind_a_plan(plans: dict[str, object], expected: float | None) -> None:
    assert planned_memory_gb(plans) == expected


def test_more_than_the_plan_was_made_for_is_a_warning_with_the_command() -> None:
    text = str(GPU)
    assert text.startswith("WARNING")
    assert "16.30 GB" in text
    assert "nnUNetPlans was made for 8 GB" in text
    assert "nnunet_spine plan -d 501 -tr SpineHybridTrainer -gpu_memory_target 8\n" in text


def test_more_than_the_gpu_has_asks_for_a_plan_that_fits_the_gpu() -> None:
    text = str(replace(GPU, planned_gb=24.0, device_gb=11.0))
    assert "will not fit this GPU" in text
    assert "-gpu_memory_target 11\n" in text


@pytest.mark.parametrize(
    "calm",
    [
        replace(GPU, needed_gb=8.2),  # within a twentieth
        replace(GPU, planned_gb=None),  # nobody knows the target, and the GPU has room
        replace(GPU, device_gb=None),  # a CPU
        replace(GPU, planned_gb=24.0),
    ],
)
def test_no_alarm(calm: MemoryCheck) -> None:
    assert "WARNING" not in str(calm)
    assert f"{calm.needed_gb:.2f} GB" in str(calm)


def test_an_unknown_target_still_warns_of_the_gpu() -> None:
    assert "will not fit this GPU" in str(replace(GPU, planned_gb=None, device_gb=12.0))


def test_the_figure_grows_with_the_network(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.initialize()
    small = memory_check._check(trainer).needed_gb
    arch = trainer.configuration_manager.network_arch_init_kwargs
    arch["features_per_stage"] = [32, 64, 128]
    assert memory_check._check(trainer).needed_gb > 4 * small > 0
    assert "on the CPU" in check_memory(trainer)


def test_adam_needs_more_than_momentum(make_trainer: MakeTrainer) -> None:
    class WithAdam(SpineTrainer):
        def configure_optimizers(self) -> tuple[Any, Any]:
            return adam_with_step_decay(
                self.network.parameters(), learning_rate=1e-3, weight_decay=0, factor=0.9, every_epochs=10
            )

    plans = make_plans()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [64, 256, 512]
    needed = {}
    for kind in (SpineTrainer, WithAdam):
        trainer = make_trainer(kind, plans=plans)
        trainer.initialize()
        needed[kind] = memory_check._check(trainer).needed_gb
    weights_gb = sum(p.numel() for p in trainer.network.parameters()) * 4 / 2**30
    assert needed[WithAdam] - needed[SpineTrainer] > 0.99 * weights_gb


def test_losses_with_regions_and_ignore_label_are_counted(make_trainer: MakeTrainer) -> None:
    regions = {"background": 0, "spine": [1, 2], "L5": [1], "ignore": 3}
    for facts in (
        make_dataset_json(labels=regions, regions_class_order=[2, 1]),
        make_dataset_json(labels={"background": 0, "L5": 1, "L4": 2, "ignore": 3}),
    ):
        trainer = make_trainer(dataset=facts)
        trainer.initialize()
        assert "could not" not in check_memory(trainer)


def test_the_figure_is_that_of_the_plan_command(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.initialize()
    plans = trainer.plans_manager.plans
    counter = ConfigurationCounter(type(trainer), dataset=trainer.dataset_json, plans=plans, precision="fp32")
    expected = counter.count(trainer.configuration_manager.configuration).total_gb
    assert memory_check._check(trainer).needed_gb == expected


def test_a_gpu_counts_its_own_share_of_the_batch(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.initialize()
    whole = memory_check._check(trainer).needed_gb
    trainer.batch_size = 1
    assert memory_check._check(trainer).needed_gb < 0.7 * whole


def test_a_failed_count_never_stops_a_training(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(trainer: object) -> MemoryCheck:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(memory_check, "_check", fail)
    assert "could not be counted (ZeroDivisionError: of all things)" in check_memory(make_trainer())
