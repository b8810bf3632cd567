"""What integrations of UNet++ into nnU-Net get wrong: one target at full resolution for all outputs."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_spine_ext.networks.unetpp import SpineUNetPP
from nnunet_spine_ext.training.nested_supervision import NestedSupervisionLoss
from nnunet_spine_ext.training.nested_trainer import NestedTrainer
from nnunet_spine_ext.training.recipe import Recipe
from tests.conftest import NnunetFolders
from tests.networks.tiny import PLANS
from tests.training.tiny import MakeTrainer, log_of, make_dataset_json, make_plans, write_tiny_dataset
from tests.training.tiny_25d import plans_25d

PLAN = PLANS["2d"]


class Nested(NestedTrainer):
    network_name = "unetpp"


class NestedWithoutDeepSupervision(NestedTrainer):
    network_name = "unetpp"
    recipe = Recipe(deep_supervision=False)


def dice_and_cross_entropy() -> nn.Module:
    loss: nn.Module = DC_and_CE_loss({"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}, {})
    return loss


def network() -> SpineUNetPP:
    torch.manual_seed(0)
    made = SpineUNetPP(input_channels=1, num_classes=3, deep_supervision=True, **PLAN.words(conv_bias=False))
    made.apply(made.initialize)
    return made


def image_and_target() -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(1)
    return PLAN.image(batch=2), [torch.randint(0, 3, (2, 1, *PLAN.patch)).float()]


def untrained(made: nn.Module) -> set[str]:
    """The parameters without a gradient, but for biases, which a norm may cancel."""
    named = made.named_parameters()
    return {n for n, p in named if (p.grad is None or not p.grad.any()) and not n.endswith("bias")}


# ---- the loss ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recompute", [True, False], ids=["recomputed", "kept"])
def test_loss_is_the_mean_of_the_losses_of_the_branches(recompute: bool) -> None:
    loss = dice_and_cross_entropy()
    image, target = image_and_target()
    outputs = [output.detach() for output in network()(image)]
    alone = [float(loss(output, target[0])) for output in outputs]
    assert len(set(alone)) == 3
    outputs[0].requires_grad_()
    total = NestedSupervisionLoss(loss, recompute=recompute)(outputs, target)
    assert total.item() == pytest.approx(sum(alone) / 3)


def test_hand_value() -> None:
    outputs = [torch.full((1, 1, 2), 3.0), torch.full((1, 1, 2), 1.0)]
    # (3² + 1²) / 2
    assert NestedSupervisionLoss(nn.MSELoss())(outputs, [torch.zeros(1, 1, 2)]).item() == 5.0


def test_every_output_and_every_parameter_is_trained() -> None:
    made, (image, target) = network(), image_and_target()
    outputs = made(image)
    for output in outputs:
        output.retain_grad()
    NestedSupervisionLoss(dice_and_cross_entropy())(outputs, target).backward()
    assert all(output.grad is not None and output.grad.any() for output in outputs)
    assert untrained(made) == set()


def test_nnunets_own_wrapper_would_train_one_branch_and_say_nothing() -> None:
    made, (image, target) = network(), image_and_target()
    outputs = made(image)
    wrapper = DeepSupervisionWrapper(dice_and_cross_entropy(), (1 / 3, 1 / 3, 1 / 3))
    loss = wrapper(outputs, target)
    assert loss.item() == pytest.approx(dice_and_cross_entropy()(outputs[0], target[0]).item() / 3)
    loss.backward()
    assert untrained(made) == {"decoder.seg_layers.0.weight", "decoder.seg_layers.1.weight"}


def test_recomputing_changes_no_gradient_and_keeps_less() -> None:
    image, target = image_and_target()
    gradients, kept = [], []
    for recompute in (True, False):
        outputs = [o.detach().requires_grad_() for o in network()(image)]
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: (s.append(t.numel()), t)[1], lambda t: t):
            loss = NestedSupervisionLoss(dice_and_cross_entropy(), recompute=recompute)(outputs, target)
        kept.append(sum(sizes))
        gradients.append(torch.autograd.grad(loss, outputs))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    assert kept[0] < 0.5 * kept[1]


@pytest.mark.parametrize(
    ("outputs", "targets", "said"),
    [
        ([torch.zeros(1)] * 3, [torch.zeros(1)] * 3, "a list of 3 and a list of 3"),
        ([torch.zeros(1)] * 3, torch.zeros(1), "a list of 3 and a tensor"),
        (torch.zeros(1), [torch.zeros(1)], "a tensor and a list of 1"),
    ],
)
def test_anything_but_one_target_is_an_error(outputs: Any, targets: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NestedSupervisionLoss(nn.MSELoss())(outputs, targets)


def test_can_be_sent_to_another_process() -> None:
    loss = pickle.loads(pickle.dumps(NestedSupervisionLoss(nn.MSELoss())))
    assert loss([torch.ones(2)], [torch.zeros(2)]).item() == 1.0


# ---- the trainer -------------------------------------------------------------------------------------------------


def step(trainer: Any) -> tuple[Any, set[str]]:
    """One step of training and one of validation on nnU-Net's own batches; the batch and the weights that stayed."""
    train, validation = trainer.get_dataloaders()
    before = {name: p.detach().clone() for name, p in trainer.network.named_parameters()}
    batch = next(train)
    trainer.on_train_epoch_start()
    assert np.isfinite(trainer.train_step(batch)["loss"])
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        result = trainer.validation_step(next(validation))
    assert np.isfinite(result["loss"])
    assert len(result["tp_hard"]) == trainer.label_manager.num_segmentation_heads - (
        0 if trainer.label_manager.has_regions else 1
    )
    return batch, {n for n, p in trainer.network.named_parameters() if torch.equal(p, before[n])}


@pytest.mark.parametrize("configuration", ["3d_fullres", "2d", "25d"])
def test_loaders_give_one_target_and_all_weights_move(make_trainer: MakeTrainer, configuration: str) -> None:
    trainer = make_trainer(Nested, configuration=configuration, plans=plans_25d())
    trainer.initialize()
    assert isinstance(trainer.loss, NestedSupervisionLoss)
    assert trainer.enable_deep_supervision
    batch, unmoved = step(trainer)
    assert [t.shape[1:] for t in batch["target"]] == [torch.Size((1, *trainer.configuration_manager.patch_size))]
    assert [name for name in unmoved if not name.endswith("bias")] == []


@pytest.mark.parametrize(
    "facts",
    [
        make_dataset_json(labels={"background": 0, "spine": [1, 2], "L5": [1]}, regions_class_order=[2, 1]),
        make_dataset_json(labels={"background": 0, "L5": 1, "L4": 2, "ignore": 3}),
    ],
    ids=["regions", "ignore label"],
)
def test_regions_and_ignore_label(
    make_trainer: MakeTrainer, nnunet_folders: NnunetFolders, facts: dict[str, Any]
) -> None:
    # With an ignore label, preprocessing notes where there is annotation.
    for folder in (nnunet_folders.raw, nnunet_folders.preprocessed):
        shutil.rmtree(folder)
        folder.mkdir()
    write_tiny_dataset(nnunet_folders, dataset=facts)
    trainer = make_trainer(Nested, dataset=facts)
    trainer.initialize()
    step(trainer)


def test_validation_judges_the_output_that_predicts(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Nested)
    trainer.initialize()
    image = torch.randn(1, 1, 4, 32, 32)
    trainer.network.eval()
    with torch.no_grad():
        first = trainer.network(image)[0]
        trainer.set_deep_supervision_enabled(False)
        assert torch.equal(trainer.network(image), first)
        trainer.set_deep_supervision_enabled(True)
        assert len(trainer.network(image)) == 2


def test_without_deep_supervision_the_deepest_output_alone_is_trained(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(NestedWithoutDeepSupervision)
    trainer.initialize()
    assert not isinstance(trainer.loss, NestedSupervisionLoss)
    batch, unmoved = step(trainer)
    assert isinstance(batch["target"], torch.Tensor)
    # The shallow head, which DistributedDataParallel would stop at, asks for no gradient.
    assert {n for n, p in trainer.network.named_parameters() if not p.requires_grad} == {
        "decoder.seg_layers.0.weight", "decoder.seg_layers.0.bias",
    }  # fmt: skip
    assert {n for n in unmoved if not n.endswith("bias")} == {"decoder.seg_layers.0.weight"}


def test_memory_of_a_step_is_counted_with_one_target(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Nested)
    trainer.initialize()
    trainer.on_train_start()
    assert "Memory of a training step, counted: " in log_of(trainer)


@pytest.mark.parametrize(("ddp", "batch_dice", "recompute"), [(False, True, True), (True, False, True),
                                                              (True, True, False)])  # fmt: skip
def test_a_loss_that_gathers_from_all_processes_runs_once(
    make_trainer: MakeTrainer, ddp: bool, batch_dice: bool, recompute: bool
) -> None:
    plans = make_plans()
    plans["configurations"]["3d_fullres"]["batch_dice"] = batch_dice
    trainer = make_trainer(Nested, plans=plans)
    trainer.is_ddp = ddp
    assert trainer._build_loss().recompute is recompute


def test_stock_trainer_with_the_network_stops_instead_of_training_something_else(make_trainer: MakeTrainer) -> None:
    plans = make_plans(stages=4)
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "nnunet_spine_ext.networks.unetpp.SpineUNetPP"
    trainer = make_trainer(nnUNetTrainer, plans=plans)
    trainer.initialize()
    target = [torch.randint(0, 3, (2, 1, 4, edge, edge)).float() for edge in (32, 16, 8)]
    trainer.on_train_epoch_start()
    with pytest.raises((RuntimeError, ValueError, AssertionError), match=r"size|shape"):
        trainer.train_step({"data": torch.randn(2, 1, 4, 32, 32), "target": target})


# ---- several processes -------------------------------------------------------------------------------------------


def _gradients(made: nn.Module) -> dict[str, Tensor]:
    return {n.removeprefix("module."): p.grad for n, p in made.named_parameters() if p.grad is not None}


def _part(rank: int, folder: str) -> None:
    """Two steps under DistributedDataParallel as nnU-Net wraps networks: no unused parameter is allowed."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    (image, target), wrapped = image_and_target(), DistributedDataParallel(network())
    for _ in range(2):  # a parameter without gradient is only told at the next step
        wrapped.zero_grad()
        loss = NestedSupervisionLoss(dice_and_cross_entropy())
        loss(wrapped(image[rank : rank + 1]), [target[0][rank : rank + 1]]).backward()
    torch.save(_gradients(wrapped), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_part, args=(str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    made, (image, target) = network(), image_and_target()
    NestedSupervisionLoss(dice_and_cross_entropy())(made(image), target).backward()
    expected = _gradients(made)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
