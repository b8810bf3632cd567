from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

import nnunet_spine_ext
from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.training.guards import NonFiniteLossError
from nnunet_spine_ext.training.recipe import Recipe
from nnunet_spine_ext.training.trainer import PROVENANCE_KEY, SpineTrainer
from tests.training.tiny import ORDERED, MakeTrainer, log_of, make_dataset_json, make_plans


def batch(*, nan: bool = False) -> dict[str, Any]:
    data = torch.randn(2, 1, 4, 32, 32)
    if nan:
        data[0, 0, 0, 0, 0] = float("nan")
    target = [torch.randint(0, 3, (2, 1, 4, edge, edge)).float() for edge in (32, 16)]
    return {"data": data, "target": target}


# ---- what it says at start ---------------------------------------------------------------------------------------


def test_log_names_trainer_file_network_weights_releases_and_loss(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("SpineBaselineTrainer_3epochs")
    trainer.initialize()
    log = log_of(trainer)
    weights = sum(p.numel() for p in trainer.network.parameters())
    for fact in (
        "Trainer: SpineBaselineTrainer_3epochs, from ",
        "trainers/spine_baseline.py",
        f"nnunet_spine_ext {nnunet_spine_ext.__version__}",
        f"torch {torch.__version__.split('+')[0]}",
        "PlainConvUNet",
        f"{weights:,} parameters",
        "epochs 3",
        "DC_and_CE_loss at 2 resolutions, weights 1, 0",
        "SGD, learning rate 0.01, PolyLRScheduler",
    ):
        assert fact in log


def test_log_says_when_the_baseline_trains_a_network_of_another_kind(make_trainer: MakeTrainer) -> None:
    plans = make_plans()
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "tests.training.stub_network.StubNetwork"
    trainer = make_trainer(plans=plans)
    trainer.initialize()
    assert "NOTE: nnUNetPlans names tests.training.stub_network.StubNetwork" in log_of(trainer)


def test_log_carries_what_the_network_says_of_the_plan(make_trainer: MakeTrainer) -> None:
    class Talking(SpineTrainer):
        @classmethod
        def build_network_architecture(
            cls,
            plans_manager: Any,
            configuration_manager: Any,
            num_input_channels: int,
            num_output_channels: int,
            enable_deep_supervision: bool = True,
        ) -> nn.Module:
            logging.getLogger("nnunet_spine_ext.networks.any").info("through-plane axis %d", 0)
            network: nn.Module = super().build_network_architecture(
                plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
            )
            return network

    before = logging.getLogger("nnunet_spine_ext").level
    trainer = make_trainer(Talking)
    trainer.initialize()
    assert "through-plane axis 0" in log_of(trainer)
    assert logging.getLogger("nnunet_spine_ext").level == before
    assert not logging.getLogger("nnunet_spine_ext").handlers


def test_log_names_the_hooks_that_a_recipe_changes(make_trainer: MakeTrainer) -> None:
    class Own(SpineTrainer):
        def build_loss(self) -> nn.Module:
            return nn.L1Loss()

    trainer = make_trainer(Own)
    trainer.initialize()
    assert "nnU-Net's own, except own build_loss" in log_of(trainer)
    assert "Loss: L1Loss at 2 resolutions" in log_of(trainer)


def test_log_says_which_patch_and_batch_the_recipe_wanted(make_trainer: MakeTrainer) -> None:
    class Wanting(SpineTrainer):
        plan_patch_size = (12, 128, 128)
        plan_batch_size = 2

    trainer = make_trainer(Wanting)
    trainer.initialize()
    log = log_of(trainer)
    assert "NOTE: patch size (4, 32, 32) from nnUNetPlans, where this recipe has (12, 128, 128)" in log
    assert "nnunet_spine plan -d 901 -tr Wanting" in log
    assert "batch size 2 from" not in log


# ---- numbers -----------------------------------------------------------------------------------------------------


def test_an_empty_recipe_changes_none_of_the_numbers_of_nnunet(make_trainer: MakeTrainer) -> None:
    ours, stock = make_trainer(SpineTrainer), make_trainer(nnUNetTrainer)
    assert Recipe().differences == {}
    for name in Recipe._NNUNET_NAMES.values():
        assert getattr(ours, name) == getattr(stock, name), name


def test_a_recipe_sets_what_it_names(make_trainer: MakeTrainer) -> None:
    class Short(SpineTrainer):
        recipe = Recipe(
            epochs=7,
            training_iterations=3,
            validation_iterations=2,
            learning_rate=0.5,
            weight_decay=0.25,
            foreground_oversampling=0.0,
            deep_supervision=False,
        )

    trainer = make_trainer(Short)
    trainer.initialize()
    assert (trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch) == (7, 3, 2)
    group = trainer.optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.25)
    assert trainer.oversample_foreground_percent == 0.0
    assert not trainer.network.decoder.deep_supervision


# ---- deep supervision --------------------------------------------------------------------------------------------


def test_loss_has_the_very_weights_of_nnunet(make_trainer: MakeTrainer) -> None:
    plans = make_plans(stages=4)
    ours, stock = make_trainer(SpineTrainer, plans=plans), make_trainer(nnUNetTrainer, plans=plans)
    assert ours._build_loss().weight_factors == pytest.approx(stock._build_loss().weight_factors)
    assert ours._build_loss().weight_factors == pytest.approx((2 / 3, 1 / 3, 0))
    assert ours.enable_deep_supervision


def test_the_lowest_output_keeps_a_gradient_under_plain_ddp(make_trainer: MakeTrainer) -> None:
    # DDP does not accept weights that get no gradient; compiled, it does.
    trainer = make_trainer(plans=make_plans(stages=4))
    trainer.is_ddp = True
    assert trainer._build_loss().weight_factors[-1] > 0
    trainer._do_i_compile = lambda: True
    assert trainer._build_loss().weight_factors[-1] == 0


def test_a_plan_with_two_stages_trains(make_trainer: MakeTrainer) -> None:
    # nnU-Net's own weights are 0 / 0 here.
    trainer = make_trainer(plans=make_plans(stages=2))
    trainer.initialize()
    small = batch()
    small["target"] = small["target"][:1]
    assert np.isfinite(trainer.train_step(small)["loss"])


def test_deep_supervision_is_switched_through_compiled_networks(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.initialize()
    inner = trainer.network
    trainer.network = torch.compile(inner)
    for enabled in (False, True):
        trainer.set_deep_supervision_enabled(enabled)
        assert inner.decoder.deep_supervision is enabled


def test_deep_supervision_stays_off_where_the_recipe_has_none(make_trainer: MakeTrainer) -> None:
    class Without(SpineTrainer):
        recipe = Recipe(deep_supervision=False)

    trainer = make_trainer(Without)
    trainer.initialize()
    # nnU-Net's validation ends with switching it on.
    trainer.set_deep_supervision_enabled(True)
    assert isinstance(trainer.network(batch()["data"]), torch.Tensor)


# ---- mirroring ---------------------------------------------------------------------------------------------------


def geometry(trainer: Any) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    *_, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    return axes, trainer.inference_allowed_mirroring_axes


def test_ordered_labels_are_not_mirrored_along_the_spine(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(dataset=make_dataset_json(spine=ORDERED))
    assert geometry(trainer) == ((0, 2), (0, 2))
    assert "Mirroring: axes (0, 2), never cranio-caudal" in log_of(trainer)


def test_ordered_labels_in_2d(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(dataset=make_dataset_json(spine=ORDERED), configuration="2d")
    assert geometry(trainer) == ((1,), (1,))


def test_the_transpose_of_the_plan_is_followed(make_trainer: MakeTrainer) -> None:
    plans = {**make_plans(), "transpose_forward": [1, 0, 2], "transpose_backward": [1, 0, 2]}
    assert geometry(make_trainer(dataset=make_dataset_json(spine=ORDERED), plans=plans)) == ((1, 2), (1, 2))


def test_other_datasets_are_mirrored_as_nnunet_does(make_trainer: MakeTrainer) -> None:
    assert geometry(make_trainer()) == ((0, 1, 2), (0, 1, 2))


def test_the_axes_reach_augmentation_and_checkpoint(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(dataset=make_dataset_json(spine=ORDERED))
    trainer.initialize()
    train, _ = trainer.get_dataloaders()
    mirrors = [t for t in train.data_loader.transforms.transforms if type(t).__name__ == "MirrorTransform"]
    assert [tuple(m.allowed_axes) for m in mirrors] == [(0, 2)]
    assert saved(trainer)["inference_allowed_mirroring_axes"] == (0, 2)


def test_where_no_axis_is_left_prediction_mirrors_nothing(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nnU-Net's predictor takes None, and fails on an empty tuple.
    hook = "configure_rotation_dummyDA_mirroring_and_inital_patch_size"
    monkeypatch.setattr(nnUNetTrainer, hook, lambda self: ((0, 0), False, [4, 32, 32], (1,)))
    assert geometry(make_trainer(dataset=make_dataset_json(spine=ORDERED))) == ((), None)


# ---- a loss that is not finite -----------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.initialize()
    trainer.on_train_epoch_start()
    trainer.current_epoch = 4
    for _ in range(3):
        assert np.isfinite(trainer.train_step(batch())["loss"])
    with pytest.raises(NonFiniteLossError, match=r"nan in epoch 4, iteration 3 \(network PlainConvUNet, float32"):
        trainer.train_step(batch(nan=True))


def test_iterations_are_counted_anew_in_each_epoch(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.initialize()
    trainer.on_train_epoch_start()
    trainer.train_step(batch())
    trainer.on_train_epoch_start()
    with pytest.raises(NonFiniteLossError, match="iteration 0 "):
        trainer.train_step(batch(nan=True))


def test_infinite_gradients_do_not_stop_the_run(make_trainer: MakeTrainer) -> None:
    # Mixed precision meets them at every start; its scaler then skips the step.
    trainer = make_trainer()
    trainer.initialize()
    trainer.optimizer.step = lambda: None
    weight = next(trainer.network.parameters())
    weight.register_hook(lambda gradient: torch.full_like(gradient, float("inf")))
    trainer.on_train_epoch_start()
    assert np.isfinite(trainer.train_step(batch())["loss"])


def test_a_validation_loss_that_is_not_finite_is_told(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    ones = np.ones(2, dtype=np.float32)
    output = {"loss": np.array(np.nan), "tp_hard": ones, "fp_hard": ones, "fn_hard": ones}
    trainer.on_validation_epoch_end([output])
    assert "a validation loss of this epoch is not finite" in log_of(trainer)


# ---- checkpoints -------------------------------------------------------------------------------------------------


def saved(trainer: Any) -> dict[str, Any]:
    path = Path(trainer.output_folder) / "checkpoint_test.pth"
    trainer.save_checkpoint(str(path))
    checkpoint: dict[str, Any] = torch.load(path, weights_only=False)
    return checkpoint


def test_a_checkpoint_names_the_package_and_its_release(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("SpineBaselineTrainer_2epochs")
    trainer.initialize()
    checkpoint = saved(trainer)
    origin = checkpoint["init_args"][PROVENANCE_KEY]
    assert origin["nnunet_spine_ext"] == nnunet_spine_ext.__version__
    assert origin["trainer"] == checkpoint["trainer_name"] == "SpineBaselineTrainer_2epochs"
    assert checkpoint["init_args"]["configuration"] == "3d_fullres"


def test_a_save_that_is_cut_off_keeps_the_last_checkpoint(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer("SpineBaselineTrainer_2epochs")
    trainer.initialize()
    saved(trainer)
    path = Path(trainer.output_folder) / "checkpoint_test.pth"
    before = path.read_bytes()

    def cut_off(_: object, file: str) -> None:
        Path(file).write_bytes(b"half a checkpoint")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", cut_off)
    with pytest.raises(OSError, match="No space"):
        trainer.save_checkpoint(str(path))
    assert path.read_bytes() == before
    assert list(path.parent.glob("*.partial")) == []


def test_the_stock_trainer_loads_our_checkpoint(make_trainer: MakeTrainer) -> None:
    ours = make_trainer()
    ours.initialize()
    saved(ours)
    stock = make_trainer(nnUNetTrainer)
    stock.load_checkpoint(str(Path(ours.output_folder) / "checkpoint_test.pth"))
    for mine, theirs in zip(ours.network.parameters(), stock.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_checkpoint_of_another_release_is_told(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.my_init_kwargs[PROVENANCE_KEY] = {**trainer.provenance, "nnunet_spine_ext": "0.0.9"}
    trainer.initialize()
    saved(trainer)
    later = make_trainer()
    later.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_test.pth"))
    assert f"nnunet_spine_ext 0.0.9 -> {nnunet_spine_ext.__version__}" in log_of(later)
    assert saved(later)["init_args"][PROVENANCE_KEY] == later.provenance


def test_the_debug_file_carries_the_origin(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.initialize()
    trainer._save_debug_information()
    debug = json.loads((Path(trainer.output_folder) / "debug.json").read_text())
    assert nnunet_spine_ext.__version__ in debug["provenance"]


# ---- refusals ----------------------------------------------------------------------------------------------------


def test_an_unsuitable_dataset_is_refused_before_anything_is_built(make_trainer: MakeTrainer) -> None:
    class Refusing(SpineTrainer):
        def check_suitable(self) -> None:
            raise SetupError("not this dataset")

    trainer = make_trainer(Refusing)
    with pytest.raises(SetupError, match="not this dataset"):
        trainer.initialize()
    assert trainer.network is None


def test_dataset_number(make_trainer: MakeTrainer) -> None:
    assert make_trainer().dataset_id == 901
