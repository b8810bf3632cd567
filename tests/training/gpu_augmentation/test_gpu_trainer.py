"""`<Trainer>GPUAug` through nnU-Net's own loaders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nnunet_spine_ext.training.artefacts import GhostingTransform
from nnunet_spine_ext.training.gpu_augmentation.trainer import GPUAugmentation
from nnunet_spine_ext.training.own_augmentation import OwnAugmentation
from tests.training.tiny import MakeTrainer

FindTrainer = Callable[[str], type]


def log_of(trainer: Any) -> str:
    return Path(trainer.log_file).read_text()


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Augment batches on the CPU as if it were a GPU."""
    monkeypatch.setattr(GPUAugmentation, "augments_batches", property(lambda self: True))


@pytest.mark.parametrize("name", ["SpineHybridTrainer", "SpineBaselineTrainer", "SpineUNetPPTrainer"])
def test_every_trainer_has_the_variant_under_the_very_name(find_trainer: FindTrainer, name: str) -> None:
    for suffix in ("GPUAug", "GPUAug_2epochs", "GPUAug_1epochs_2iterations"):
        made = find_trainer(name + suffix)
        assert made.__name__ == name + suffix
        assert issubclass(made, GPUAugmentation)
        assert made.full_length_name == name
        assert made.__mro__[2].__name__ == name
    assert made.recipe.epochs == 1


def test_without_a_gpu_the_workers_augment(find_trainer: FindTrainer, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(find_trainer("SpineBaselineTrainerGPUAug"))
    trainer.initialize()
    train, _ = trainer.get_dataloaders()
    assert "by nnU-Net's workers on the CPU, as there is no GPU" in log_of(trainer)
    assert tuple(next(train)["data"].shape[2:]) == tuple(trainer.configuration_manager.patch_size)


@pytest.mark.usefixtures("on_the_cpu")
@pytest.mark.parametrize("name", ["SpineBaselineTrainer", "SpineHybridTrainer", "SpineUNetPPTrainer"])
def test_batches_come_out_as_the_workers_make_them(
    find_trainer: FindTrainer, make_trainer: MakeTrainer, name: str
) -> None:
    batches = []
    for suffix in ("", "GPUAug"):
        trainer = make_trainer(find_trainer(name + suffix))
        trainer.initialize()
        train, _ = trainer.get_dataloaders()
        batch = next(train)
        if suffix:
            assert isinstance(batch["target"], torch.Tensor)  # as cut by the loader
            batch = trainer.batch_pipeline(batch, trainer.device)
        batches.append(batch)
    here, there = batches
    assert here["data"].shape == there["data"].shape
    assert [target.shape for target in here["target"]] == [target.shape for target in there["target"]]
    assert [target.dtype for target in here["target"]] == [target.dtype for target in there["target"]]
    assert all(int(target.min()) >= 0 for target in there["target"])


@pytest.mark.usefixtures("on_the_cpu")
def test_an_epoch_trains(find_trainer: FindTrainer, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(find_trainer("SpineHybridTrainerGPUAug_1epochs_2iterations"))
    trainer.run_training()
    assert "Augmentation: on the GPU, whole batches." in log_of(trainer)
    assert (Path(trainer.output_folder) / "checkpoint_final.pth").exists()
    assert Path(trainer.output_folder_base).name.startswith("SpineHybridTrainerGPUAug_1epochs_2iterations__")


@pytest.mark.usefixtures("on_the_cpu")
def test_a_recipe_with_transforms_of_its_own_keeps_them(make_trainer: MakeTrainer) -> None:
    class Odd(OwnAugmentation):
        def augmentations(self, **_: Any) -> list[Any]:
            return [GhostingTransform.__new__(GhostingTransform)]

    class OddGPUAug(GPUAugmentation, Odd):
        pass

    trainer = make_trainer(OddGPUAug)
    pipeline = trainer.get_training_transforms([6, 16, 16], (0.0, 0.0), None, (), False)
    assert pipeline is not None
    assert trainer.batch_pipeline is None
    assert "on the CPU, as GhostingTransform has no form for a batch" in log_of(trainer)
