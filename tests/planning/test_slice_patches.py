"""The configuration 25d: patches of several slices on the data of 2d."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_spine_ext.errors import PlanError, SetupError
from nnunet_spine_ext.networks import registry
from nnunet_spine_ext.planning.counting import UnsuitableError
from nnunet_spine_ext.planning.fixed import FixedByRecipe
from nnunet_spine_ext.planning.losses import nnunet_loss
from nnunet_spine_ext.planning.memory import CUDA_OVERHEAD_BYTES, GB, count_training_memory
from nnunet_spine_ext.planning.planner import plan
from nnunet_spine_ext.planning.slice_patches import slices_of_a_patch
from nnunet_spine_ext.training.recipe import Recipe
from nnunet_spine_ext.training.trainer import SpineTrainer
from tests.conftest import NnunetFolders
from tests.planning.synthetic import LABELS, write_dataset, write_stock_plans
from tests.training.tiny import MakeTrainer, make_plans

SMALL: dict[str, Any] = {"shape": (12, 40, 40), "spacing_mm": (4.4, 0.9, 0.9)}
TRAINER = "SpineHybridResTrainer"


def read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def configuration_of(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = PlansManager(str(file)).get_configuration("25d").configuration
    return found


def planned(*, trainer: str = TRAINER, say: Callable[[str], object] = print, **more: Any) -> Path:
    return plan(501, trainer=trainer, configurations=["25d"], say=say, **more)


@pytest.fixture
def use_trainer(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], None]:
    """Let the planner find this class, whatever it looks for."""

    def use(trainer: type) -> None:
        monkeypatch.setattr("nnunet_spine_ext.planning.planner.find_trainer", lambda _: trainer)

    return use


@pytest.mark.parametrize(
    ("shapes", "axis", "expected"),
    [
        ([(39, 305, 305)] * 3, 0, 16),
        ([(12, 880, 880), (15, 880, 880)], 0, 12),
        ([(880, 880, 17), (880, 880, 9)], 2, 9),
        ([(1, 64, 64)], 0, 4),
    ],
)
def test_a_patch_has_as_many_slices_as_the_shortest_volume_from_4_to_16(
    shapes: list[tuple[int, ...]], axis: int, expected: int
) -> None:
    assert slices_of_a_patch(shapes, axis=axis) == expected


def test_it_is_the_data_of_2d_in_whole_slices(nnunet_folders: NnunetFolders) -> None:
    folder = write_dataset(nnunet_folders, **SMALL)
    write_stock_plans()
    said: list[str] = []
    file = planned(say=said.append)
    content = read(file)
    assert content["configurations"].keys() == {"2d", "25d"}
    assert content["configurations"]["25d"]["inherits_from"] == "2d"
    configuration = configuration_of(file)
    assert configuration["patch_size"] == [12, 40, 40]
    assert configuration["batch_size"] >= 2
    assert configuration["data_identifier"] == "nnUNetPlans_2d"
    assert configuration["spacing"] == content["configurations"]["2d"]["spacing"]
    assert content["spine"]["counted_gb"]["25d"] <= 8
    assert any(f"nnUNetv2_train 501 25d 0 -tr {TRAINER}" in line for line in said)
    assert any(line.startswith("25d: 12 slices") for line in said)
    # Only configurations with data of their own are to be preprocessed.
    assert any(line == "Preprocess: nnUNetv2_preprocess -d 501 -plans_name SpineHybridResPlans -c 2d" for line in said)
    assert not (folder / "SpineHybridResPlans_25d").exists()


def test_the_plane_shrinks_until_the_network_fits_and_no_further(nnunet_folders: NnunetFolders) -> None:
    write_dataset(nnunet_folders, shape=(20, 96, 96), spacing_mm=(4.4, 0.9, 0.9))
    target = CUDA_OVERHEAD_BYTES / GB + 0.5
    file = planned(gpu_memory_target_gb=target)
    configuration = configuration_of(file)
    slices, height, width = configuration["patch_size"]
    assert slices == 16
    assert height * width < 96 * 96
    words = {
        **configuration["architecture"]["arch_kwargs"],
        "conv_op": torch.nn.Conv2d,
        "norm_op": torch.nn.InstanceNorm2d,
        "nonlin": torch.nn.LeakyReLU,
    }
    strides = np.prod(words["strides"], axis=0)
    assert (height % strides[0], width % strides[1]) == (0, 0)

    def counted_gb(plane: tuple[int, int], *, batch: int) -> float:
        patch = (slices, *plane)
        return count_training_memory(
            lambda: registry.build(
                "hybrid-res", words, input_channels=1, num_classes=20, deep_supervision=True, patch_size=patch
            ),
            patch_size=patch,
            batch_size=batch,
            input_channels=1,
            loss=nnunet_loss(deep_supervision_outputs=words["n_stages"] - 1, batch_dice=True),
        ).total_gb

    assert len(LABELS) == 20
    assert read(file)["spine"]["counted_gb"]["25d"] == pytest.approx(
        counted_gb((height, width), batch=configuration["batch_size"]), abs=1e-3
    )
    assert counted_gb((height, width), batch=2) <= target
    assert counted_gb((height + int(strides[0]), width + int(strides[1])), batch=2) > target


def test_planning_2d_again_leaves_it_whole(nnunet_folders: NnunetFolders) -> None:
    write_dataset(nnunet_folders, **SMALL)
    before = configuration_of(planned())
    after = configuration_of(plan(501, trainer=TRAINER, configurations=["2d"], gpu_memory_target_gb=4))
    for key in ("patch_size", "batch_size", "architecture", "data_identifier"):
        assert after[key] == before[key]


def test_networks_of_nnunet_and_networks_in_3d_alone_are_refused(
    nnunet_folders: NnunetFolders, use_trainer: Callable[[type], None]
) -> None:
    write_dataset(nnunet_folders, **SMALL)

    class Only3D(SpineTrainer):
        network_name = "hybrid-paper"

    with pytest.raises(PlanError, match="SpineBaselineTrainer trains the network that a plan names"):
        planned(trainer="SpineBaselineTrainer")
    use_trainer(Only3D)
    with pytest.raises(UnsuitableError, match=r"Only3D .*takes no 2D plan"):
        planned(trainer="")


class Without2D(SpineTrainer):
    network_name = "hybrid-res"
    plan_configuration = "25d"

    def check_suitable(self) -> None:
        if len(self.configuration_manager.patch_size) == 2:
            raise SetupError("needs neighbouring slices")


def test_a_trainer_that_names_it_is_planned_for_it_and_refuses_2d(
    nnunet_folders: NnunetFolders, use_trainer: Callable[[type], None]
) -> None:
    write_dataset(nnunet_folders, **SMALL)
    use_trainer(Without2D)
    said: list[str] = []
    file = plan(501, trainer="", say=said.append)
    assert read(file)["configurations"].keys() == {"2d", "25d"}
    assert read(file)["spine"]["counted_gb"].keys() == {"25d"}
    assert any(line.startswith("2d: not counted") and "needs neighbouring slices" in line for line in said)
    with pytest.raises(UnsuitableError, match="needs neighbouring slices"):
        plan(501, trainer="", configurations=["2d", "25d"])


def test_a_recipe_may_fix_patch_and_batch(nnunet_folders: NnunetFolders, use_trainer: Callable[[type], None]) -> None:
    write_dataset(nnunet_folders, **SMALL)

    class Fixed(Without2D):
        plan_patch_size = (8, 32, 32)
        plan_batch_size = 3

    use_trainer(Fixed)
    configuration = configuration_of(plan(501, trainer=""))
    assert (configuration["patch_size"], configuration["batch_size"]) == ([8, 32, 32], 3)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, None),
        ({"plan_patch_size": (12, 128, 128)}, "3d_fullres"),
        ({"plan_patch_size": (256, 256)}, "2d"),
        ({"plan_patch_size": (16, 256, 256), "plan_configuration": "25d"}, "25d"),
        ({"plan_configuration": "25d"}, "25d"),
    ],
)
def test_the_configuration_that_a_recipe_fixes(attributes: dict[str, Any], expected: str | None) -> None:
    assert FixedByRecipe.of(type("Any", (), attributes)).configuration == expected


def test_a_fixed_batch_alone_shrinks_the_patch(
    nnunet_folders: NnunetFolders, use_trainer: Callable[[type], None]
) -> None:
    write_dataset(nnunet_folders, shape=(12, 128, 128), spacing_mm=(4.4, 0.9, 0.9))

    class Sixteen(SpineTrainer):
        network_name = "hybrid-res"
        plan_batch_size = 16

    use_trainer(Sixteen)
    target = CUDA_OVERHEAD_BYTES / GB + 0.4
    file = plan(501, trainer="", configurations=["2d"], gpu_memory_target_gb=target)
    configuration = PlansManager(str(file)).get_configuration("2d").configuration
    assert configuration["batch_size"] == 16
    assert max(configuration["patch_size"]) < 128
    assert read(file)["spine"]["counted_gb"]["2d"] <= target


def test_nnunets_loaders_and_our_trainer_take_it(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = make_plans()
    plans["configurations"]["25d"] = {"inherits_from": "2d", "patch_size": [5, 32, 32], "batch_size": 2}

    class Sliced(SpineTrainer):
        network_name = "hybrid-res"

    trainer = make_trainer(Sliced, configuration="25d", plans=plans)
    trainer.initialize()
    train, validation = trainer.get_dataloaders()
    batch = next(train)
    assert batch["data"].shape == (2, 1, 5, 32, 32)
    trainer.on_train_epoch_start()
    assert np.isfinite(trainer.train_step(batch)["loss"])
    assert np.isfinite(trainer.validation_step(next(validation))["loss"])


@pytest.mark.parametrize(
    ("configuration", "patch"), [("25d", [12, 32, 48]), ("2d", [32, 48]), ("3d_fullres", [12, 32, 48])]
)
def test_a_network_with_strides_of_its_own_gets_a_patch_that_it_can_take(
    nnunet_folders: NnunetFolders, use_trainer: Callable[[type], None], configuration: str, patch: list[int]
) -> None:
    write_dataset(nnunet_folders, shape=(12, 24, 40), spacing_mm=(4.4, 0.9, 0.9))

    class Own(SpineTrainer):
        network_name = "hybrid-res"
        recipe = Recipe(deep_supervision=False)

        @classmethod
        def architecture_words(cls, configuration_manager: Any) -> dict[str, Any]:
            words = super().architecture_words(configuration_manager)
            dims = len(words["strides"][0])
            halved = [1, 2, 2][-dims:]
            lists = {"strides": [[1] * dims, *[halved] * 4], "kernel_sizes": [[3] * dims] * 5, "n_stages": 5}
            per_stage = {"n_conv_per_stage": 1, "n_conv_per_stage_decoder": 1, "features_per_stage": 4}
            return {**words, **lists, **per_stage}

    use_trainer(Own)
    file = plan(501, trainer="", configurations=[configuration], depth="full")
    found = PlansManager(str(file)).get_configuration(configuration).configuration
    assert found["patch_size"] == patch
