"""The recipes of paper 002. Its networks are wide, so narrow ones of the same form stand in where a step is made."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
import torch

from nnunet_spine_ext.networks.registry import NETWORKS
from nnunet_spine_ext.networks.unet import SpineUNet
from nnunet_spine_ext.training.label_losses import CrossEntropyLoss
from nnunet_spine_ext.training.paper002 import slice_deformations
from tests.trainers.building import network_without_data
from tests.training.tiny import ORDERED, MakeTrainer, log_of, make_dataset_json

PLAN_TRAINERS = {
    "SpineCTUNetTrainer": {},
    "SpineCTUNetSPConvTrainer": {"block": "spconv"},
    "SpineCTUNetRATrainer": {"skip": "residual_attention"},
    "SpineCTUNetConvModuleTrainer": {"block": "conv_module", "skip": "residual_attention"},
}
PAPER_TRAINERS = {
    "SpineCTUNetPaperTrainer": 31_037_633,
    "SpineCTUNetSPConvPaperTrainer": 13_025_357,
    "SpineCTUNetRAPaperTrainer": 33_129_477,
    "SpineCTUNetConvModulePaperTrainer": 79_506_119,
}
FindTrainer = Callable[[str], Any]


@pytest.fixture
def paper(find_trainer: FindTrainer, make_trainer: MakeTrainer) -> MakeTrainer:
    """Make a paper trainer with a narrow network; 2d unless said otherwise."""

    def make(name: str = "SpineCTUNetPaperTrainer", *, augments: bool = True, **arguments: Any) -> Any:
        trainer = find_trainer(name)
        trainer.network_options = MappingProxyType({**trainer.network_options, "features": [8, 8, 16]})
        trainer.augments = augments
        return make_trainer(trainer, **{"configuration": "2d", **arguments})

    return make


# ---- networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PLAN_TRAINERS, *PAPER_TRAINERS])
def test_trainer_and_registry_name_each_other(find_trainer: FindTrainer, name: str) -> None:
    assert name in NETWORKS[find_trainer(name).network_name].trainers


@pytest.mark.parametrize(("name", "options"), PLAN_TRAINERS.items())
def test_trainers_on_the_plan_differ_in_nothing_but_the_network(
    find_trainer: FindTrainer, name: str, options: dict[str, str]
) -> None:
    trainer = find_trainer(name)
    assert dict(trainer.network_options) == dict(NETWORKS[trainer.network_name].options) == options
    own = {attribute for attribute in vars(trainer) if not attribute.startswith("__")}
    assert own <= {"network_name", "network_options", "source_file", "full_length_name"}


@pytest.mark.parametrize(("name", "size"), PAPER_TRAINERS.items())
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_paper_trainer_builds_the_papers_size_on_any_plan(
    find_trainer: FindTrainer, name: str, size: int, configuration: str
) -> None:
    network = network_without_data(find_trainer(name), configuration=configuration, channels=3, classes=1)
    assert sum(p.numel() for p in network.parameters()) == size


# ---- the paper's recipe ------------------------------------------------------------------------------------------


def test_recipe_is_that_of_the_text(paper: MakeTrainer) -> None:
    trainer = paper()
    trainer.initialize()
    assert trainer.num_epochs == 100
    assert isinstance(trainer.loss, CrossEntropyLoss)
    assert type(trainer.optimizer) is torch.optim.Adam
    assert not trainer.enable_deep_supervision
    rates = []
    for epoch in (0, 50, 99):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == [1e-4] * 3
    assert "paper 002 segments one structure, this dataset has 2" in log_of(trainer)


def test_versions_3_and_5_have_numbers_of_their_own(find_trainer: FindTrainer) -> None:
    found = {name: find_trainer(name) for name in PAPER_TRAINERS}
    assert [t.plan_batch_size for t in found.values()] == [16, 15, 16, 16]
    assert [t.recipe.epochs for t in found.values()] == [100, 100, 100, 10]
    assert len({t.recipe.learning_rate for t in found.values()}) == 1


def test_regions_are_trained_with_binary_cross_entropy(paper: MakeTrainer) -> None:
    facts = make_dataset_json(labels={"background": 0, "spine": [1, 2], "L5": [1]}, regions_class_order=[2, 1])
    trainer = paper(dataset=facts)
    trainer.initialize()
    logits, regions = torch.randn(2, 2, 4, 4), torch.randint(0, 2, (2, 2, 4, 4)).bool()
    p = torch.sigmoid(logits)
    by_hand = -torch.where(regions, p, 1 - p).log().mean()
    torch.testing.assert_close(trainer.loss(logits, regions), by_hand)


# ---- augmentation ------------------------------------------------------------------------------------------------


def names_of(transforms: Any) -> list[str]:
    inner = getattr(transforms, "transforms", None)
    return [type(transforms).__name__] if inner is None else [name for t in inner for name in names_of(t)]


def test_windows_are_rotated_deformed_and_flipped(paper: MakeTrainer) -> None:
    trainer = paper()
    trainer.initialize()
    train, validation = trainer.get_dataloaders()
    transforms = train.data_loader.transforms
    rest = names_of(validation.data_loader.transforms)
    assert names_of(transforms) == ["SpatialTransform", "AxisFlips", *rest]
    deform, flips = transforms.transforms[:2]
    assert (deform.p_rotation, deform.p_elastic_deform, deform.p_scaling) == (0.5, 0.5, 0)
    assert deform.rotation == pytest.approx((-math.pi, math.pi))
    assert (flips.allowed_axes, flips.probability) == ((0, 1), 0.5)
    assert trainer.inference_allowed_mirroring_axes == (0, 1)
    assert min(train.data_loader.patch_size[-2:]) > 32  # a margin to rotate from
    assert pickle.loads(pickle.dumps(transforms))


def test_version_1_reads_windows_as_they_are(paper: MakeTrainer) -> None:
    trainer = paper(augments=False)
    trainer.initialize()
    train, validation = trainer.get_dataloaders()
    assert names_of(train.data_loader.transforms) == ["AxisFlips", *names_of(validation.data_loader.transforms)]
    assert train.data_loader.transforms.transforms[0].allowed_axes == ()
    assert list(train.data_loader.patch_size[-2:]) == [32, 32]
    assert trainer.inference_allowed_mirroring_axes is None


def test_no_flip_runs_along_ordered_labels_or_across_slices(paper: MakeTrainer) -> None:
    flat = paper(dataset=make_dataset_json(spine=ORDERED))
    *_, axes = flat.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert axes == flat.inference_allowed_mirroring_axes == (1,)
    volume = paper(configuration="3d_fullres")
    _, _, size, axes = volume.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert axes == (1, 2)
    assert size[0] == 4
    assert min(size[1:]) > 32


def test_image_and_labels_are_deformed_alike_and_all_slices_too() -> None:
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disc = ((y - 30) ** 2 + (x - 26) ** 2 < 15**2).float()
    moved = 0
    for _ in range(12):
        data = {"image": disc.expand(1, 5, 64, 64).clone(), "segmentation": disc.expand(1, 5, 64, 64).to(torch.int16)}
        for transform in slice_deformations([5, 48, 48], rotation=(-math.pi, math.pi)):
            data = transform(**data)
        image, labels = data["image"], data["segmentation"]
        assert image.shape == labels.shape == (1, 5, 48, 48)
        assert torch.equal(image, image[:, :1].expand_as(image))
        # Away from the edge of the disc, where half a pixel decides.
        clear = (image - 0.5).abs() > 0.4
        assert torch.equal((image > 0.5)[clear], (labels == 1)[clear])
        moved += not torch.equal(image[0, 0], disc[8:56, 8:56])
    assert moved > 3


# ---- steps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "configuration"), [*((name, "2d") for name in PAPER_TRAINERS), ("SpineCTUNetPaperTrainer", "3d_fullres")]
)
def test_two_iterations_of_the_papers_recipe(paper: MakeTrainer, name: str, configuration: str) -> None:
    trainer = paper(name, configuration=configuration)
    trainer.initialize()
    train, validation = trainer.get_dataloaders()
    trainer.on_train_start()
    assert "could not be counted" not in log_of(trainer)
    trainer.on_train_epoch_start()
    for _ in range(2):
        assert 0 < float(trainer.train_step(next(train))["loss"]) < 5
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        # After two steps BatchNorm's running statistics are still far from those of the images.
        assert math.isfinite(trainer.validation_step(next(validation))["loss"])


@pytest.mark.parametrize("name", PLAN_TRAINERS)
def test_two_iterations_of_nnunets_recipe(make_trainer: MakeTrainer, name: str) -> None:
    trainer = make_trainer(name)
    trainer.initialize()
    assert isinstance(trainer.network, SpineUNet)
    train, validation = trainer.get_dataloaders()
    trainer.on_train_start()
    assert "could not be counted" not in log_of(trainer)
    trainer.on_train_epoch_start()
    for _ in range(2):
        assert math.isfinite(trainer.train_step(next(train))["loss"])
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        assert math.isfinite(trainer.validation_step(next(validation))["loss"])


def test_the_loss_falls_on_a_batch_seen_again(paper: MakeTrainer) -> None:
    torch.manual_seed(0)
    trainer = paper()
    trainer.initial_lr = 1e-2  # a network this narrow would need many steps at 1e-4
    trainer.initialize()
    train, _ = trainer.get_dataloaders()
    seen = next(train)
    trainer.on_train_epoch_start()
    losses = [float(trainer.train_step(seen)["loss"]) for _ in range(25)]
    assert losses[-1] < 0.9 * losses[0]
