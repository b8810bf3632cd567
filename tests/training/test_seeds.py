"""A seeded training on the CPU ends with the same bytes, however it was stopped; without a seed nothing changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.logging.nnunet_logger import LocalLogger
from torch import nn

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.training.paper000 import Paper000Recipe
from nnunet_spine_ext.training.plateau import PlateauTrainer, adam_with_plateau
from nnunet_spine_ext.training.recipe import Recipe
from nnunet_spine_ext.training.seeds import (
    SEED_KEY,
    SEED_VARIABLE,
    best_so_far,
    fold_seed,
    seed_epoch,
    seed_in_environment,
    seed_network,
)
from nnunet_spine_ext.training.trainer import SpineTrainer
from tests.training.tiny import MakeTrainer, log_of

SHORT = Recipe(epochs=3, training_iterations=2, validation_iterations=1, learning_rate=0.01)


class Stock(SpineTrainer):
    """nnU-Net's SGD, schedule and augmentation."""

    recipe = SHORT


class Stateful(PlateauTrainer):
    """What has a state besides weights: Adam, a plateau schedule, BatchNorm's averages; and dropout, which draws."""

    recipe = SHORT

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        network: nn.Module = super().build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        for module in list(network.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.InstanceNorm3d):
                    setattr(module, name, nn.Sequential(nn.BatchNorm3d(child.num_features), nn.Dropout(0.2)))
        return network

    def configure_optimizers(self) -> tuple[Any, Any]:
        return adam_with_plateau(self.network.parameters(), learning_rate=0.01, weight_decay=0.0, patience=0)


class Subset(Paper000Recipe):
    """Cases from a schedule instead of drawn."""

    recipe = Recipe(epochs=3, training_iterations=2, validation_iterations=1, learning_rate=0.01)
    case_fraction = 0.5


def state_of(trainer: Any) -> dict[str, Any]:
    """What a finished training has left, but for the clock."""
    folder = Path(trainer.output_folder)
    state: dict[str, Any] = {}
    for name in ("final", "best"):
        checkpoint = torch.load(folder / f"checkpoint_{name}.pth", weights_only=False)
        logged = {k: v for k, v in checkpoint["logging"].items() if not k.endswith("timestamps")}
        kept = ("network_weights", "optimizer_state", "_best_ema", "current_epoch", "init_args")
        state[name] = {**{k: checkpoint[k] for k in kept}, "logged": logged}
    return state


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and np.isnan(one):
        return bool(np.isnan(other))
    return bool(one == other)


class KillError(Exception):
    """Ends a training from within."""


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare nnU-Net's picture of the losses, seconds for each epoch."""
    monkeypatch.setattr(LocalLogger, "plot_progress_png", lambda self, folder: None)


@pytest.fixture
def disturb(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that leaves all random numbers elsewhere, as another process would find them."""

    def away() -> None:
        random.seed()
        np.random.seed()
        torch.seed()

    return away


def train_until(trainer: Any, *, epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run until `epoch` epochs are done and saved as checkpoint_latest, and one more step: then the kill."""
    trainer.save_every = 1
    step, steps = trainer.train_step, []

    def killed_in_next_epoch(batch: dict[str, Any]) -> dict[str, Any]:
        if trainer.current_epoch == epoch and steps:
            raise KillError
        steps[:] = [batch] if trainer.current_epoch == epoch else []
        result: dict[str, Any] = step(batch)
        return result

    monkeypatch.setattr(trainer, "train_step", killed_in_next_epoch)
    with pytest.raises(KillError):
        trainer.run_training()


@pytest.mark.parametrize("trainer", [Stock, Stateful, Subset])
def test_a_training_that_was_killed_and_continued_ends_with_the_same_weights(
    make_trainer: MakeTrainer,
    monkeypatch: pytest.MonkeyPatch,
    disturb: Callable[[], None],
    trainer: type[SpineTrainer],
) -> None:
    monkeypatch.setenv(SEED_VARIABLE, "3")
    whole = make_trainer(trainer)
    whole.run_training()
    undisturbed = state_of(whole)

    disturb()
    train_until(make_trainer(trainer), epoch=1, monkeypatch=monkeypatch)
    disturb()
    second = make_trainer(trainer)
    second.load_checkpoint(str(Path(second.output_folder) / "checkpoint_latest.pth"))
    assert second.current_epoch == 1
    second.run_training()
    assert same(state_of(second), undisturbed)


def test_a_training_that_lost_everything_ends_with_the_same_weights_and_another_seed_with_others(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, disturb: Callable[[], None]
) -> None:
    states = []
    for seed in ("0", "0", "1"):
        disturb()
        monkeypatch.setenv(SEED_VARIABLE, seed)
        trainer = make_trainer(Stock)
        trainer.run_training()
        states.append(state_of(trainer))
    assert same(states[0], states[1])
    weights = [state["final"]["network_weights"] for state in states]
    changed = [not torch.equal(weights[0][k], weights[2][k]) for k in weights[0]]
    assert sum(changed) > len(changed) / 2


def test_without_a_seed_no_random_number_is_set(make_trainer: MakeTrainer) -> None:
    def weights_and_numbers() -> tuple[torch.Tensor, ...]:
        torch.manual_seed(5)
        np.random.seed(5)
        trainer = make_trainer(Stock)
        trainer.initialize()
        trainer.on_epoch_start()
        assert SEED_KEY not in trainer.my_init_kwargs
        assert "Seed" not in log_of(trainer)
        first = next(trainer.network.parameters()).detach().clone()
        return first, torch.rand(3), torch.from_numpy(np.random.rand(3))

    def stock() -> tuple[torch.Tensor, ...]:
        torch.manual_seed(5)
        np.random.seed(5)
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        trainer = make_trainer(nnUNetTrainer)
        trainer.initialize()
        trainer.on_epoch_start()
        first = next(trainer.network.parameters()).detach().clone()
        return first, torch.rand(3), torch.from_numpy(np.random.rand(3))

    assert same(weights_and_numbers(), stock())


# ---- the numbers themselves --------------------------------------------------------------------------------------


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_seed_fold_epoch_and_process_each_give_other_numbers() -> None:
    numbers = []
    for seed, fold, epoch, rank in [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 1, 1, 1)]:
        seed_epoch(seed, fold=fold, epoch=epoch, rank=rank)
        numbers.append(drawn())
    seed_network(0, fold=0)
    numbers.append(drawn())
    for each in zip(*numbers, strict=True):
        assert len(set(each)) == len(numbers)
    seed_epoch(0, fold=0, epoch=1)
    assert drawn() == numbers[3]


def test_fold_all_has_numbers_too() -> None:
    assert fold_seed(0, fold="all") != fold_seed(0, fold=0) != fold_seed(1, fold=0)
    assert fold_seed(None, fold="all") != fold_seed(None, fold=0)


def test_every_process_builds_the_same_network_and_draws_windows_of_its_own(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SEED_VARIABLE, "0")
    weights, numbers = [], []
    for rank in (0, 1):
        trainer = make_trainer(Stock)
        trainer.local_rank = rank  # no process group, so nnU-Net does not wrap the network
        trainer.initialize()
        trainer.on_epoch_start()
        weights.append(next(trainer.network.parameters()).detach().clone())
        numbers.append(drawn())
    assert torch.equal(*weights)
    assert numbers[0] != numbers[1]


@pytest.mark.parametrize("named", ["-1", "1.5", "seven", "1 2", "0x1", "²"])
def test_a_bad_seed_stops_before_anything_is_built(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv(SEED_VARIABLE, named)
    trainer = make_trainer(Stock)
    with pytest.raises(SetupError, match=r"NNUNET_SPINE_SEED is .* whole number"):
        trainer.initialize()
    assert trainer.network is None


@pytest.mark.parametrize(
    ("named", "seed"), [("0", 0), (" 12 ", 12), ("99999999999999999999999", 10**23 - 1), ("", None)]
)
def test_seeds_of_any_size_are_read(monkeypatch: pytest.MonkeyPatch, named: str, seed: int | None) -> None:
    monkeypatch.setenv(SEED_VARIABLE, named)
    assert seed_in_environment() == seed
    seed_epoch(seed or 0, fold=0, epoch=0)


def test_the_log_says_how_far_the_seed_reaches(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SEED_VARIABLE, "4")
    trainer = make_trainer(Stock)
    trainer.initialize()
    assert "Seed: 4 (NNUNET_SPINE_SEED); this training can be repeated, and continued, to the byte." in log_of(trainer)
    monkeypatch.setenv("nnUNet_n_proc_DA", "2")
    trainer = make_trainer(Stock)
    trainer.initialize()
    assert "Seed: 4 (NNUNET_SPINE_SEED); repeated to the byte only on a CPU with nnUNet_n_proc_DA=0." in log_of(trainer)


def test_a_checkpoint_of_another_seed_is_told(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SEED_VARIABLE, "4")
    first = make_trainer(Stock)
    first.initialize()
    path = str(Path(first.output_folder) / "checkpoint_test.pth")
    first.logger.log("mean_fg_dice", 0.5, 0)
    first.save_checkpoint(path)
    for named, trained in (("4", False), ("5", True), ("", True)):
        monkeypatch.setenv(SEED_VARIABLE, named)
        trainer = make_trainer(Stock)
        trainer.load_checkpoint(path)
        said = "WARNING: the checkpoint was trained with seed 4, now it is " in log_of(trainer)
        Path(trainer.log_file).unlink()
        assert said is trained
        assert trainer.my_init_kwargs.get(SEED_KEY) == (int(named) if named else None)


@pytest.mark.parametrize(
    ("values", "best"), [([], None), ([0.1, 0.5, 0.3], 0.5), ([0.5], 0.5), ([0.1, float("nan"), 0.3], 0.3)]
)
def test_the_best_is_what_nnunet_would_have_held(values: list[float], best: float | None) -> None:
    assert best_so_far(values) == best
