"""The recipes of paper 000. Its network is too large to train in a test, so a stub stands in where a step is made."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.training.losses import ProbabilityMSELoss
from nnunet_spine_ext.training.schedules import StepDecay
from tests.conftest import NnunetFolders
from tests.trainers.building import network_without_data
from tests.training.stub_network import StubNetwork
from tests.training.tiny import ORDERED, MakeTrainer, log_of, make_dataset_json, write_tiny_dataset


@pytest.fixture
def paper(find_trainer: Callable[[str], type], make_trainer: MakeTrainer) -> MakeTrainer:
    """Make the paper trainer (or a length of it) with a small network."""

    def small(
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        words = {**configuration_manager.network_arch_init_kwargs, "conv_op": nn.Conv3d}
        return StubNetwork(
            input_channels=num_input_channels,
            num_classes=num_output_channels,
            deep_supervision=enable_deep_supervision,
            **words,
        )

    def make(name: str = "SpineHybridPaperTrainer", **plan_and_dataset: Any) -> Any:
        trainer: Any = find_trainer(name)
        trainer.build_network_architecture = staticmethod(small)
        return make_trainer(trainer, **plan_and_dataset)

    return make


# ---- networks ----------------------------------------------------------------------------------------------------

ARMS = {
    "SpineHybridTrainer": ("ux", "hanc"),
    "SpineHybridNoHANCTrainer": ("ux", "res"),
    "SpineHybridNoUXTrainer": ("res", "hanc"),
    "SpineHybridResTrainer": ("res", "res"),
    "SpineHybridPaperTrainer": ("ux", "hanc"),
}


build_without_data = partial(network_without_data, configuration="3d_fullres", classes=2)


@pytest.mark.parametrize(("name", "blocks"), ARMS.items())
def test_each_trainer_builds_its_arm(find_trainer: Callable[[str], Any], name: str, blocks: tuple[str, str]) -> None:
    network: Any = build_without_data(find_trainer(name))
    assert (network.options.plane_block, network.options.link_block) == blocks


@pytest.mark.parametrize("name", ARMS)
def test_trainer_and_registry_name_each_other(find_trainer: Callable[[str], Any], name: str) -> None:
    # The planner writes the trainer's options into a plan, so that the stock trainer builds the same network.
    trainer = find_trainer(name)
    row = NETWORKS[trainer.network_name]
    assert name in row.trainers
    assert dict(trainer.network_options) == dict(row.options)


def test_the_paper_trainer_builds_the_papers_size_on_any_plan(find_trainer: Callable[[str], Any]) -> None:
    # 744 430 538 weights are what remains of the paper's 1 012 865 948 without its per-voxel norms and dead weights.
    network = build_without_data(find_trainer("SpineHybridPaperTrainer"))
    assert sum(p.numel() for p in network.parameters()) == 744_430_538


def test_a_network_of_ours_is_of_a_module_that_outlives_the_look_up(find_trainer: Callable[[str], Any]) -> None:
    network = build_without_data(find_trainer("SpineHybridTrainer"))
    module = sys.modules[type(network).__module__]
    assert getattr(module, type(network).__name__) is type(network)


def test_the_arms_differ_in_nothing_but_the_network(find_trainer: Callable[[str], Any]) -> None:
    names = [name for name in ARMS if "Paper" not in name]
    own = {attribute for name in names for attribute in vars(find_trainer(name)) if not attribute.startswith("__")}
    assert own == {"network_name", "network_options", "source_file", "full_length_name"}


# ---- the paper's recipe ------------------------------------------------------------------------------------------


def test_recipe_is_that_of_the_text(paper: MakeTrainer) -> None:
    trainer = paper()
    trainer.initialize()
    assert trainer.num_epochs == 200
    assert isinstance(trainer.loss, ProbabilityMSELoss)
    assert type(trainer.optimizer) is torch.optim.Adam
    assert trainer.optimizer.param_groups[0]["lr"] == 1e-3
    assert trainer.optimizer.param_groups[0]["weight_decay"] == 0
    assert isinstance(trainer.lr_scheduler, StepDecay)
    assert not trainer.enable_deep_supervision
    assert (trainer.plan_patch_size, trainer.plan_batch_size) == ((12, 128, 128), 8)
    assert trainer.oversample_foreground_percent == 0


def test_rate_falls_by_a_tenth_after_each_ten_epochs(paper: MakeTrainer) -> None:
    trainer = paper()
    trainer.initialize()
    rates = []
    for epoch in (0, 9, 10, 19, 20, 199):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 1e-3, 9e-4, 9e-4, 8.1e-4, 1e-3 * 0.9**19])


def test_windows_are_random_and_inside_the_image(paper: MakeTrainer) -> None:
    trainer = paper()
    trainer.initialize()
    train, _ = trainer.get_dataloaders()
    loader = train.data_loader
    # No margin for a rotation, none of the batch forced onto a structure.
    assert list(loader.patch_size) == list(loader.final_patch_size) == [4, 32, 32]
    assert not any(loader.get_do_oversample(i) for i in range(2))
    starts = {tuple(int(s) for s in loader.get_bbox(np.array([6, 40, 32]), False, None)[0]) for _ in range(300)}
    assert {s[0] for s in starts} == {0, 1, 2}
    assert {s[1] for s in starts} == set(range(9))
    assert {s[2] for s in starts} == {0}


def test_mirroring_is_the_only_augmentation(paper: MakeTrainer) -> None:
    trainer = paper()
    trainer.initialize()
    train, validation = trainer.get_dataloaders()
    names = [type(t).__name__ for t in train.data_loader.transforms.transforms]
    assert names == ["AxisFlips", "ComposeTransforms"]
    flips, rest = train.data_loader.transforms.transforms
    assert (flips.allowed_axes, flips.probability) == ((0, 1, 2), 0.3)
    assert [type(t) for t in rest.transforms] == [type(t) for t in validation.data_loader.transforms.transforms]


def test_ordered_labels_are_not_mirrored_along_the_spine_here_either(paper: MakeTrainer) -> None:
    trainer = paper(dataset=make_dataset_json(spine=ORDERED))
    trainer.initialize()
    train, _ = trainer.get_dataloaders()
    assert train.data_loader.transforms.transforms[0].allowed_axes == (0, 2)


def test_an_epoch_is_two_of_four_cases_with_sixteen_windows(paper: MakeTrainer) -> None:
    # round(0.4 x 4) = 2 cases x 16 windows / batch 2 = 16 iterations.
    trainer = paper()
    trainer.initialize()
    train, _ = trainer.get_dataloaders()
    assert trainer.num_iterations_per_epoch == 16
    epochs = [Counter(str(c) for _ in range(16) for c in next(train)["keys"]) for _ in range(6)]
    assert all(sorted(e.values()) == [16, 16] for e in epochs)
    assert len({frozenset(e) for e in epochs}) > 1
    assert "2 of 4 cases, 16 windows each; 16 iterations of batch size 2" in log_of(trainer)


# batchgenerators stops its workers while its own thread may still be reading from one.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_workers_deliver_the_same_cases_in_the_same_order(paper: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = paper()
    trainer.initialize()
    alone, _ = trainer.get_dataloaders()
    expected = [list(next(alone)["keys"]) for _ in range(20)]
    monkeypatch.setenv("nnUNet_n_proc_DA", "3")
    together, validation = trainer.get_dataloaders()
    try:
        assert [list(next(together)["keys"]) for _ in range(20)] == expected
    finally:
        together._finish()
        validation._finish()


def test_a_continued_training_goes_on_with_its_own_epoch(paper: MakeTrainer) -> None:
    trainer = paper()
    trainer.initialize()
    whole, _ = trainer.get_dataloaders()
    keys = [list(next(whole)["keys"]) for _ in range(5 * 16)]
    trainer.current_epoch = 3
    continued, _ = trainer.get_dataloaders()
    assert [list(next(continued)["keys"]) for _ in range(2 * 16)] == keys[3 * 16 :]


def test_a_shortened_variant_keeps_its_own_iterations(paper: MakeTrainer) -> None:
    trainer = paper("SpineHybridPaperTrainer_1epochs_2iterations")
    trainer.initialize()
    trainer.get_dataloaders()
    assert (trainer.num_epochs, trainer.num_iterations_per_epoch) == (1, 2)


def test_2d_is_refused(paper: MakeTrainer) -> None:
    with pytest.raises(SetupError, match="configuration 2d is 2D"):
        paper(configuration="2d").initialize()


@pytest.mark.parametrize(
    ("facts", "structures"),
    [
        (make_dataset_json(labels={"background": 0, "spine": 1}), None),
        (make_dataset_json(labels={"background": 0, "spine": [1, 2]}, regions_class_order=[1]), None),
        (make_dataset_json(), 2),
    ],
)
def test_a_task_that_is_not_the_papers_is_named(
    paper: MakeTrainer, facts: dict[str, Any], structures: int | None
) -> None:
    trainer = paper(dataset=facts)
    trainer.initialize()
    note = f"paper 000 segments one structure, this dataset has {structures}"
    assert (note in log_of(trainer)) == (structures is not None)
    assert ("segments one structure" in log_of(trainer)) == (structures is not None)


@pytest.mark.parametrize(
    "facts",
    [
        make_dataset_json(),
        make_dataset_json(labels={"background": 0, "L5": 1, "L4": 2, "ignore": 3}),
        make_dataset_json(labels={"background": 0, "spine": [1, 2], "L5": [1]}, regions_class_order=[2, 1]),
        make_dataset_json(labels={"background": 0, "spine": [1, 2], "ignore": 3}, regions_class_order=[1]),
    ],
    ids=["labels", "ignore label", "regions", "regions and ignore label"],
)
def test_a_step_of_training_and_validation_with_every_kind_of_labels(
    paper: MakeTrainer, nnunet_folders: NnunetFolders, facts: dict[str, Any]
) -> None:
    # With an ignore label, preprocessing notes where there is annotation.
    for folder in (nnunet_folders.raw, nnunet_folders.preprocessed):
        shutil.rmtree(folder)
        folder.mkdir()
    write_tiny_dataset(nnunet_folders, dataset=facts)
    trainer = paper(dataset=facts)
    trainer.initialize()
    train, validation = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    assert 0 < float(trainer.train_step(next(train))["loss"]) < 1
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert 0 < float(trainer.validation_step(next(validation))["loss"]) < 1


def test_the_loss_falls_on_a_batch_seen_again(paper: MakeTrainer) -> None:
    torch.manual_seed(0)
    trainer = paper()
    trainer.initialize()
    train, _ = trainer.get_dataloaders()
    seen = next(train)
    trainer.on_train_epoch_start()
    losses = [float(trainer.train_step(seen)["loss"]) for _ in range(25)]
    assert losses[-1] < 0.9 * losses[0]
