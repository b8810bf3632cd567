"""Plans on synthetic fingerprints, among them MRSpineSeg's 12 × 880 × 880 at 4.4 × 0.3448 × 0.3448 mm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_spine_ext.errors import PlanError, SetupError
from nnunet_spine_ext.planning.losses import nnunet_loss
from nnunet_spine_ext.planning.memory import CUDA_OVERHEAD_BYTES, GB, count_training_memory
from nnunet_spine_ext.planning.planner import check, plan
from nnunet_spine_ext.planning.trainers import find_trainer, network_options_of, plans_name_of
from tests.conftest import NnunetFolders
from tests.planning.synthetic import LABELS, write_dataset, write_stock_plans

OVERHEAD_GB = CUDA_OVERHEAD_BYTES / GB
SMALL: dict[str, Any] = {"shape": (12, 40, 40), "spacing_mm": (4.4, 0.9, 0.9)}
"""Thick slices of a small phantom: four stages, quick to count."""
WIDER: dict[str, Any] = {"shape": (12, 96, 96), "spacing_mm": (4.4, 0.9, 0.9)}
WIDER_TARGET_GB = OVERHEAD_GB + 0.2
"""Too little for the whole of WIDER, so that depth has its price."""


def read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def configuration_of(file: Path, name: str = "3d_fullres") -> dict[str, Any]:
    found: dict[str, Any] = PlansManager(str(file)).get_configuration(name).configuration
    return found


def counted_gb(configuration: dict[str, Any], *, patch: list[int] | None = None, batch: int | None = None) -> float:
    """Count with nnU-Net's own builder and default loss; for another patch, with the topology nnU-Net gives it."""
    kwargs = dict(configuration["architecture"]["arch_kwargs"])
    if patch is not None:
        _, strides, kernels, padded, _ = get_pool_and_conv_props(configuration["spacing"], patch, 4, 999999)
        assert list(padded) == patch
        stages = len(strides)
        features = [min(320 if len(patch) == 3 else 512, 32 * 2**i) for i in range(stages)]
        kwargs |= {"n_stages": stages, "strides": strides, "kernel_sizes": kernels, "features_per_stage": features}
        kwargs |= {"n_conv_per_stage": [2] * stages, "n_conv_per_stage_decoder": [2] * (stages - 1)}

    def build() -> nn.Module:
        architecture = configuration["architecture"]
        network: nn.Module = get_network_from_plans(
            architecture["network_class_name"],
            kwargs,
            architecture["_kw_requires_import"],
            1,
            len(LABELS),
            deep_supervision=True,
        )
        return network

    return count_training_memory(
        build,
        patch_size=patch or configuration["patch_size"],
        batch_size=batch or configuration["batch_size"],
        input_channels=1,
        loss=nnunet_loss(deep_supervision_outputs=kwargs["n_stages"] - 1, batch_dice=configuration["batch_dice"]),
    ).total_gb


@pytest.fixture
def said() -> list[str]:
    """What a command reported; pass its `append` as `say`."""
    return []


def test_mrspineseg_keeps_all_slices_and_fits_while_the_next_patch_does_not(
    nnunet_folders: NnunetFolders, said: list[str]
) -> None:
    write_dataset(nnunet_folders)
    file = plan(501, trainer="nnUNetTrainer", gpu_memory_target_gb=8, configurations=["3d_fullres"], say=said.append)
    configuration = configuration_of(file)
    depth, height, width = configuration["patch_size"]
    assert depth == 12
    assert counted_gb(configuration) <= 8
    # Not tight if the narrower in-plane axis could grow to the other.
    larger = [12, max(height, width), max(height, width)]
    assert larger > configuration["patch_size"]
    assert counted_gb(configuration, patch=larger, batch=2) > 8
    assert any("full depth, all 12 slices" in line for line in said)
    assert read(file)["spine"]["counted_gb"]["3d_fullres"] == pytest.approx(counted_gb(configuration), abs=1e-3)


def test_with_its_own_network_and_rules_nnunets_8_gb_plan_is_found_again(
    nnunet_folders: NnunetFolders, said: list[str]
) -> None:
    write_dataset(nnunet_folders)
    file = plan(501, trainer="nnUNetTrainer", gpu_memory_target_gb=8, depth="stock", say=said.append)
    found = {name: (c["patch_size"], c["batch_size"]) for name, c in read(file)["configurations"].items()}
    # What nnUNetv2_plan_experiment 2.8.1 writes for this fingerprint.
    assert found == {"2d": ([896, 896], 4), "3d_fullres": ([6, 512, 512], 2)}


def test_all_but_patch_and_batch_is_nnunets(nnunet_folders: NnunetFolders, said: list[str]) -> None:
    folder = write_dataset(nnunet_folders, **SMALL)
    write_stock_plans()
    file = plan(501, trainer="nnUNetTrainer", depth="stock", say=said.append)
    stock, ours = read(folder / "nnUNetPlans.json"), read(file)
    assert ours.keys() - stock.keys() == {"spine"}
    for name, theirs in stock["configurations"].items():
        assert ours["configurations"][name] == theirs | {"batch_size": ours["configurations"][name]["batch_size"]}
    for key in stock.keys() - {"plans_name", "experiment_planner_used", "configurations"}:
        assert ours[key] == stock[key]


def test_stock_plans_stay_as_they_are_and_their_data_are_shared(nnunet_folders: NnunetFolders, said: list[str]) -> None:
    folder = write_dataset(nnunet_folders, **SMALL)
    write_stock_plans()
    before = (folder / "nnUNetPlans.json").read_bytes()
    for configuration in ("2d", "3d_fullres"):
        (folder / f"nnUNetPlans_{configuration}").mkdir()
        (folder / f"nnUNetPlans_{configuration}" / "case0.pkl").touch()
    file = plan(501, trainer="SpineBaselineTrainer", say=said.append)
    assert file == folder / "SpineBaselinePlans.json"
    assert (folder / "nnUNetPlans.json").read_bytes() == before
    identifiers = {name: c["data_identifier"] for name, c in read(file)["configurations"].items()}
    assert identifiers == {"2d": "nnUNetPlans_2d", "3d_fullres": "nnUNetPlans_3d_fullres"}
    assert "Preprocessed data: shared with the stock plan, nothing to do" in said
    assert not list(folder.glob(".*"))  # no half-written file


def test_without_stock_plans_the_command_for_preprocessing_is_said(
    nnunet_folders: NnunetFolders, said: list[str]
) -> None:
    folder = write_dataset(nnunet_folders, **SMALL)
    file = plan(501, trainer="SpineBaselineTrainer", configurations=["2d"], say=said.append)
    assert list(read(file)["configurations"]) == ["2d"]
    assert read(file)["configurations"]["2d"]["data_identifier"] == "SpineBaselinePlans_2d"
    assert "Preprocess: nnUNetv2_preprocess -d 501 -plans_name SpineBaselinePlans -c 2d" in said
    assert not (folder / "nnUNetPlans.json").exists()


def test_the_batch_fills_the_target_and_nothing_more(nnunet_folders: NnunetFolders, said: list[str]) -> None:
    write_dataset(nnunet_folders, **SMALL, cases=2000)
    target = OVERHEAD_GB + 1.0
    file = plan(
        501, trainer="nnUNetTrainer", gpu_memory_target_gb=target, configurations=["3d_fullres"], say=said.append
    )
    configuration = configuration_of(file)
    batch = configuration["batch_size"]
    assert batch > 2
    assert counted_gb(configuration) <= target < counted_gb(configuration, batch=batch + 1)


def test_the_batch_never_covers_more_than_a_twentieth_of_the_dataset(
    nnunet_folders: NnunetFolders, said: list[str]
) -> None:
    write_dataset(nnunet_folders, **SMALL, cases=60)
    file = plan(501, trainer="nnUNetTrainer", gpu_memory_target_gb=40, configurations=["3d_fullres"], say=said.append)
    configuration = configuration_of(file)
    assert configuration["patch_size"] == [12, 40, 40]  # the whole image
    assert configuration["batch_size"] == 60 // 20


def test_a_network_of_ours_is_named_so_that_the_stock_trainer_builds_the_same(
    nnunet_folders: NnunetFolders, said: list[str]
) -> None:
    write_dataset(nnunet_folders, **SMALL)
    file = plan(501, trainer="SpineHybridTrainer", configurations=["3d_fullres"], say=said.append)
    manager = PlansManager(str(file))
    configuration = manager.get_configuration("3d_fullres")
    trainers = [find_trainer(name) for name in ("nnUNetTrainer", "SpineHybridTrainer")]
    stock, ours = (t.build_network_architecture(manager, configuration, 1, 20, True) for t in trainers)
    assert configuration.network_arch_class_name == "nnunet_spine_ext.networks.hybrid.SpineHybrid"
    assert type(stock) is type(ours)
    assert {k: v.shape for k, v in stock.state_dict().items()} == {k: v.shape for k, v in ours.state_dict().items()}
    facts = manager.plans["spine"]
    assert facts.keys() == {
        "gpu_memory_target_gb", "trainer", "depth", "depth_chosen", "counted_gb", "package_version",
    }  # fmt: skip
    assert (facts["trainer"], facts["depth"], facts["gpu_memory_target_gb"]) == ("SpineHybridTrainer", "auto", 8)


@pytest.mark.parametrize("depth", ["full", "stock"])
def test_depth_modes(nnunet_folders: NnunetFolders, said: list[str], depth: Any) -> None:
    write_dataset(nnunet_folders, **WIDER)
    file = plan(
        501,
        trainer="nnUNetTrainer",
        gpu_memory_target_gb=WIDER_TARGET_GB,
        depth=depth,
        configurations=["3d_fullres"],
        say=said.append,
    )
    patch = configuration_of(file)["patch_size"]
    assert (patch[0] == 12) is (depth == "full")
    assert read(file)["spine"]["depth_chosen"] == {"3d_fullres": depth}


def test_auto_prefers_the_plane_where_full_depth_leaves_too_little(
    nnunet_folders: NnunetFolders, said: list[str]
) -> None:
    write_dataset(nnunet_folders, **WIDER)
    file = plan(
        501,
        trainer="nnUNetTrainer",
        gpu_memory_target_gb=WIDER_TARGET_GB,
        configurations=["3d_fullres"],
        say=said.append,
    )
    assert configuration_of(file)["patch_size"][0] < 12
    assert read(file)["spine"]["depth_chosen"] == {"3d_fullres": "stock"}
    assert any("full depth would leave" in line for line in said)


def test_isotropic_images_are_planned_as_nnunet_plans_them(nnunet_folders: NnunetFolders, said: list[str]) -> None:
    write_dataset(nnunet_folders, shape=(40, 48, 40), spacing_mm=(1.0, 1.0, 1.0))
    plan(501, trainer="nnUNetTrainer", depth="full", configurations=["3d_fullres"], say=said.append)
    assert any("the slices are not thick" in line for line in said)


def test_a_target_that_nothing_fits_is_an_error_with_figures_and_no_file(nnunet_folders: NnunetFolders) -> None:
    folder = write_dataset(nnunet_folders, **SMALL)
    with pytest.raises(PlanError, match=r"does not fit 2\.41 GB: its smallest patch .* still needs 2\.\d+ GB"):
        plan(501, trainer="nnUNetTrainer", gpu_memory_target_gb=2.41, configurations=["3d_fullres"])
    assert not list(folder.glob("*Plans.json"))
    with pytest.raises(PlanError, match="depth auto"):
        plan(501, trainer="nnUNetTrainer", gpu_memory_target_gb=2.41, depth="full", configurations=["3d_fullres"])


def test_images_too_small_for_a_network_are_named(nnunet_folders: NnunetFolders) -> None:
    write_dataset(nnunet_folders, shape=(4, 12, 12), spacing_mm=(1.0, 1.0, 1.0))
    with pytest.raises(PlanError, match="too small"):
        plan(501, trainer="nnUNetTrainer", configurations=["3d_fullres"])


def test_the_recipe_of_paper_000_keeps_its_patch_and_batch_and_its_cost_is_said(
    nnunet_folders: NnunetFolders, said: list[str]
) -> None:
    write_dataset(nnunet_folders, labels={"background": 0, "spine": 1})
    file = plan(501, trainer="SpineHybridPaperTrainer_3epochs", say=said.append)
    assert file.name == "SpineHybridPaperPlans.json"
    assert list(read(file)["configurations"]) == ["3d_fullres"]
    configuration = configuration_of(file)
    assert (configuration["patch_size"], configuration["batch_size"]) == ([12, 128, 128], 8)
    assert any(line.startswith("3d_fullres: WARNING: the recipe fixes patch and batch") for line in said)
    # 744 million weights with gradients and two states of Adam are more than 8 GB alone.
    assert read(file)["spine"]["counted_gb"]["3d_fullres"] > 4 * 0.744 * 4


def test_a_fixed_patch_that_cannot_be_pooled_names_the_divisor(
    nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(nnunet_folders)
    fixed = type("OddTrainer", (find_trainer("nnUNetTrainer"),), {"plan_patch_size": (12, 100, 128)})
    monkeypatch.setattr("nnunet_spine_ext.planning.planner.find_trainer", lambda _: fixed)
    with pytest.raises(PlanError, match=r"OddTrainer fixes a patch of \(12, 100, 128\).*divisible by \(2, 16, 16\)"):
        plan(501, trainer="OddTrainer")


def test_planning_again_keeps_the_users_own_configurations(nnunet_folders: NnunetFolders, said: list[str]) -> None:
    write_dataset(nnunet_folders, **SMALL)
    arguments: dict[str, Any] = {"trainer": "nnUNetTrainer", "say": said.append}
    file = plan(501, **arguments, configurations=["2d"])
    content = read(file)
    content["configurations"]["2d_bs7"] = {"inherits_from": "2d", "batch_size": 7}
    file.write_text(json.dumps(content))
    plan(501, **arguments, configurations=["3d_fullres"])
    assert read(file)["configurations"].keys() == {"2d", "2d_bs7", "3d_fullres"}
    assert read(file)["spine"]["counted_gb"].keys() == {"2d", "3d_fullres"}
    assert configuration_of(file, "2d_bs7")["batch_size"] == 7


def test_regions_are_counted_with_their_loss(nnunet_folders: NnunetFolders, said: list[str]) -> None:
    labels = {"background": 0, "spine": [1, 2], "sacrum": 2, "ignore": 3}
    write_dataset(nnunet_folders, **SMALL, labels=labels, regions_class_order=[1, 2])
    file = plan(501, trainer="nnUNetTrainer", configurations=["2d"], say=said.append)
    assert read(file)["spine"]["counted_gb"]["2d"] < 8


def test_images_in_another_orientation_are_transposed_as_nnunet_does(
    nnunet_folders: NnunetFolders, said: list[str]
) -> None:
    write_dataset(nnunet_folders, shape=(40, 40, 12), spacing_mm=(0.9, 0.9, 4.4))
    file = plan(501, trainer="nnUNetTrainer", configurations=["3d_fullres"], say=said.append)
    assert read(file)["transpose_forward"] == [2, 0, 1]
    assert configuration_of(file)["patch_size"][0] == 12


def test_check_counts_what_is_there(nnunet_folders: NnunetFolders, said: list[str]) -> None:
    write_dataset(nnunet_folders, **SMALL)
    write_stock_plans()
    rows = check(501, "nnUNetPlans", say=said.append)
    assert [row.configuration for row in rows] == ["2d", "3d_fullres"]
    assert {row.trainer for row in rows} == {"nnUNetTrainer"}
    assert all(row.memory is not None and f"{row.memory.total_gb:.2f}" in said[0] for row in rows)
    paper = check(501, "nnUNetPlans", trainer="SpineHybridPaperTrainer", say=said.append)
    assert paper[0].memory is None
    assert any(line.startswith("2d: SpineHybridPaperTrainer cannot train") for line in said)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plan(502), SetupError, "Dataset502_"),
        (lambda: plan(501, trainer="NoSuchTrainer"), SetupError, "NoSuchTrainer"),
        (lambda: plan(501, configurations=["3d"]), PlanError, "Unknown configuration 3d"),
        (lambda: plan(501, gpu_memory_target_gb=0), PlanError, "above 0 GB"),
        (lambda: plan(501, overwrite_plans_name="nnUNetPlans"), PlanError, "not a file of nnunet_spine"),
        (lambda: check(501, "NoPlans"), SetupError, r"no NoPlans\.json .* plans there: none"),
    ],
)
def test_mistakes_are_named(
    nnunet_folders: NnunetFolders, call: Callable[[], object], error: type[Exception], message: str
) -> None:
    write_dataset(nnunet_folders, **SMALL)
    with pytest.raises(error, match=message):
        call()


def test_folds_that_disagree_are_named(nnunet_folders: NnunetFolders) -> None:
    folder = write_dataset(nnunet_folders, **SMALL)
    for where, case in ((nnunet_folders.raw / folder.name, "a"), (folder, "b")):
        (where / "splits_final.json").write_text(json.dumps([{"train": [case], "val": []}]))
    with pytest.raises(PlanError, match=r"splits_final\.json"):
        plan(501, trainer="nnUNetTrainer")


@pytest.mark.parametrize(
    ("trainer", "name"),
    [
        ("SpineHybridTrainer", "SpineHybridPlans"),
        ("SpineHybridTrainer_5epochs", "SpineHybridPlans"),
        ("SpineHybridTrainer_1epochs_2iterations", "SpineHybridPlans"),
        ("SpineHybridTrainerGPUAug", "SpineHybridPlans"),
        ("SpineHybridTrainerGPUAug_1epochs_2iterations", "SpineHybridPlans"),
        ("SpineHybridNoHANCTrainer", "SpineHybridNoHANCPlans"),
        ("SpineBaselineTrainer", "SpineBaselinePlans"),
        ("nnUNetTrainer", "SpineStockPlans"),
        ("nnUNetTrainer_250epochs", "SpineStockPlans"),
    ],
)
def test_names_of_plans(trainer: str, name: str) -> None:
    assert plans_name_of(type(trainer, (), {})) == name


def test_options_of_a_trainer_go_over_those_of_the_registry() -> None:
    assert network_options_of(find_trainer("SpineHybridNoHANCTrainer"))["link_block"] == "res"
    assert network_options_of(find_trainer("SpineHybridPaperTrainer"))["width"] == 64
    assert network_options_of(find_trainer("nnUNetTrainer")) == {}
