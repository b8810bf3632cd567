"""What a network that sees coordinates may be shown mirrored, and what the log says about its slices."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_spine_ext.training.coordinates import CoordinateTrainer
from tests.training.tiny import ORDERED, MakeTrainer, log_of, make_dataset_json
from tests.training.tiny_25d import plans_25d

Axes = tuple[int, ...]


class Mapped(CoordinateTrainer):
    """Five slices and coordinates, by its row."""

    network_name = "unet-dense-001"


class Unmapped(CoordinateTrainer):
    network_name = "unet-dense-001"
    network_options = MappingProxyType({"slices": {"neighbours": 1, "coordinates": False}})


class Volumetric(CoordinateTrainer):
    """A network of three dimensions, which has no options for slices."""

    network_name = "hybrid-res"


def geometry(trainer: Any) -> tuple[Axes, Axes | None]:
    *_, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    return axes, trainer.inference_allowed_mirroring_axes


@pytest.mark.parametrize(
    ("configuration", "training", "prediction"),
    [("2d", (), None), ("25d", (0,), (0,)), ("3d_fullres", (0,), (0,))],
)
def test_only_the_order_of_slices_is_mirrored(
    make_trainer: MakeTrainer, configuration: str, training: Axes, prediction: Axes | None
) -> None:
    trainer = make_trainer(Mapped, configuration=configuration, plans=plans_25d())
    assert geometry(trainer) == (training, prediction)
    assert f"Mirroring: axes {training}, none within a slice" in log_of(trainer)


def test_slices_may_lie_along_another_axis(make_trainer: MakeTrainer) -> None:
    plans = plans_25d()
    words = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    words["kernel_sizes"] = [[3, 3, 1]] * 3
    words["strides"] = [[1, 1, 1], [2, 2, 1], [2, 2, 1]]
    plans["configurations"]["3d_fullres"]["patch_size"] = [32, 32, 4]
    assert geometry(make_trainer(Mapped, plans=plans)) == ((2,), (2,))


def test_slices_across_which_labels_are_ordered_are_not_mirrored_either(make_trainer: MakeTrainer) -> None:
    axial = make_dataset_json(spine={**ORDERED, "cranio_caudal_axis_zyx": 0})
    assert geometry(make_trainer(Mapped, dataset=axial)) == ((), None)


def test_without_coordinates_nothing_changes(make_trainer: MakeTrainer) -> None:
    assert geometry(make_trainer(Unmapped)) == ((0, 1, 2), (0, 1, 2))
    assert geometry(make_trainer(Volumetric)) == ((0, 1, 2), (0, 1, 2))
    assert Unmapped.slice_options().neighbours == 1


def test_rotation_and_windows_stay_those_of_nnunet(make_trainer: MakeTrainer) -> None:
    ours, stock = make_trainer(Mapped), make_trainer(nnUNetTrainer)
    hook = "configure_rotation_dummyDA_mirroring_and_inital_patch_size"
    mine, theirs = getattr(ours, hook)(), getattr(stock, hook)()
    assert mine[:2] == theirs[:2]
    assert list(mine[2]) == list(theirs[2])


def test_the_axes_reach_augmentation(make_trainer: MakeTrainer) -> None:
    found = {}
    for configuration in ("2d", "3d_fullres"):
        trainer = make_trainer(Mapped, configuration=configuration)
        trainer.initialize()
        train, _ = trainer.get_dataloaders()
        transforms = train.data_loader.transforms.transforms
        found[configuration] = [tuple(t.allowed_axes) for t in transforms if type(t).__name__ == "MirrorTransform"]
    assert found == {"2d": [], "3d_fullres": [(0,)]}


@pytest.mark.parametrize(("configuration", "rows"), [("25d", "axis 1: 32 voxels, patch 16"), ("2d", "axis 0: 32")])
def test_coordinates_of_a_tile_are_warned_of(make_trainer: MakeTrainer, configuration: str, rows: str) -> None:
    plans = plans_25d(plane=(16, 32))
    plans["configurations"]["2d"]["patch_size"] = [16, 32]
    trainer = make_trainer(Mapped, configuration=configuration, plans=plans)
    trainer.initialize()
    log = log_of(trainer)
    assert "WARNING: the median image is larger than the patch" in log
    assert rows in log
    # The other axis is covered, and how many slices a patch has does not matter.
    assert log.count("voxels, patch") == 1


@pytest.mark.parametrize("configuration", ["25d", "3d_fullres"])
def test_a_patch_that_shows_the_slice_is_not_warned_of(make_trainer: MakeTrainer, configuration: str) -> None:
    trainer = make_trainer(Mapped, configuration=configuration, plans=plans_25d())
    trainer.initialize()
    assert "WARNING" not in log_of(trainer)
    assert "sees no neighbours" not in log_of(trainer)


def test_a_tile_does_not_matter_without_coordinates(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Unmapped, configuration="25d", plans=plans_25d(plane=(16, 16)))
    trainer.initialize()
    assert "WARNING" not in log_of(trainer)


def test_flat_patches_have_no_neighbours_and_the_log_says_so(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Mapped, configuration="2d")
    trainer.initialize()
    log = log_of(trainer)
    assert "takes 5 slices, but a patch of configuration 2d has one" in log
    assert "nnunet_spine plan -d 901 -tr Mapped -c 25d" in log
