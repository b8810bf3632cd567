from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.training.logging.nnunet_logger import LocalLogger

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.training.kept_epochs import (
    KEEP_VARIABLE,
    kept_checkpoint_name,
    kept_epochs_in_environment,
    without_effect,
)
from nnunet_spine_ext.training.recipe import Recipe
from nnunet_spine_ext.training.trainer import SpineTrainer
from tests.training.tiny import MakeTrainer, log_of


class Short(SpineTrainer):
    recipe = Recipe(epochs=3, training_iterations=1, validation_iterations=1)


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare nnU-Net's picture of the losses, seconds for each epoch."""
    monkeypatch.setattr(LocalLogger, "plot_progress_png", lambda self, folder: None)


def checkpoints(trainer: Any) -> list[str]:
    return sorted(path.name for path in Path(trainer.output_folder).glob("checkpoint_epoch_*"))


def loaded(trainer: Any, name: str) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(Path(trainer.output_folder) / name, weights_only=False)
    return checkpoint


def test_the_named_epochs_stay_and_hold_what_was_reached_then(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEEP_VARIABLE, "3,1")
    trainer = make_trainer(Short)
    reached = {}
    end = trainer.on_train_epoch_end

    def noting(outputs: list[dict[str, Any]]) -> None:
        reached[trainer.current_epoch + 1] = {k: v.clone() for k, v in trainer.network.state_dict().items()}
        end(outputs)

    monkeypatch.setattr(trainer, "on_train_epoch_end", noting)
    trainer.run_training()
    assert checkpoints(trainer) == ["checkpoint_epoch_0001.pth", "checkpoint_epoch_0003.pth"]
    for epochs in (1, 3):
        checkpoint = loaded(trainer, kept_checkpoint_name(epochs))
        assert checkpoint["current_epoch"] == epochs
        assert all(len(values) == epochs for values in checkpoint["logging"].values())
        assert all(torch.equal(v, reached[epochs][k]) for k, v in checkpoint["network_weights"].items())
    assert loaded(trainer, "checkpoint_final.pth")["current_epoch"] == 3
    assert "WARNING" not in log_of(trainer)


def test_without_the_variable_nothing_is_kept(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Short)
    trainer.run_training()
    assert checkpoints(trainer) == []


def test_a_run_that_ended_before_the_copy_was_written_makes_it_when_it_goes_on(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_trainer(Short)
    first.save_every = 1
    monkeypatch.setattr(first, "num_epochs", 2)
    first.on_train_end = lambda: None
    first.run_training()  # checkpoint_latest after epoch 1, checkpoint_best after 1 or 2
    latest = str(Path(first.output_folder) / "checkpoint_latest.pth")
    monkeypatch.setenv(KEEP_VARIABLE, "1")
    second = make_trainer(Short)
    second.load_checkpoint(latest)
    before = torch.load(latest, weights_only=False)["network_weights"]
    second.run_training()
    kept = loaded(second, "checkpoint_epoch_0001.pth")
    assert kept["current_epoch"] == 1
    assert all(torch.equal(v, before[k]) for k, v in kept["network_weights"].items())
    assert loaded(second, "checkpoint_final.pth")["current_epoch"] == 3


def test_epochs_that_are_not_reached_are_told(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEEP_VARIABLE, "1,50,100")
    trainer = make_trainer(Short)
    trainer.on_train_start()
    assert "WARNING: NNUNET_SPINE_KEEP_EPOCHS names 50, 100 epochs, but the training ends after 3." in log_of(trainer)


def test_epochs_that_have_passed_are_told_unless_their_checkpoint_is_there(tmp_path: Path) -> None:
    assert list(without_effect((1, 2, 3, 4), done=0, total=4, folder=tmp_path)) == []
    (tmp_path / "checkpoint_epoch_0001.pth").touch()
    (line,) = without_effect((1, 2, 3, 4), done=3, total=4, folder=tmp_path)
    assert "names 2 epochs, but the training goes on after 3" in line


@pytest.mark.parametrize("named", ["ten", "0", "10,", "10;50", "-1", "1.5", "10 50", ",", "²"])
def test_bad_epochs_stop_before_anything_is_built(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv(KEEP_VARIABLE, named)
    trainer = make_trainer(Short)
    with pytest.raises(SetupError, match=r"NNUNET_SPINE_KEEP_EPOCHS is .* commas between"):
        trainer.initialize()
    assert trainer.network is None


@pytest.mark.parametrize(
    ("named", "epochs"), [("10,50,100", (10, 50, 100)), (" 7 , 2,7", (2, 7)), ("", ()), ("  ", ())]
)
def test_epochs_are_read_in_order_and_once(
    monkeypatch: pytest.MonkeyPatch, named: str, epochs: tuple[int, ...]
) -> None:
    monkeypatch.setenv(KEEP_VARIABLE, named)
    assert kept_epochs_in_environment() == epochs


def test_names_sort_as_the_epochs_do() -> None:
    assert kept_checkpoint_name(10) == "checkpoint_epoch_0010.pth"
    assert kept_checkpoint_name(9) < kept_checkpoint_name(10) < kept_checkpoint_name(1000)
