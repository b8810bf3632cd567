"""Two processes on the CPU (gloo): gradients are those of one process on the joined batch.

nnU-Net's command insists on nccl, so network and loss run under DistributedDataParallel as nnU-Net wraps them, and the
trainer's own steps run with the device put back to the CPU. Run with `python -m pytest -m slow tests/training`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from torch import Tensor, distributed, nn
from torch import multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from nnunet_spine_ext.networks.registry import NETWORKS, auxiliary_terms
from nnunet_spine_ext.training.auxiliary import AuxLoss
from nnunet_spine_ext.training.deep_supervision import DeepSupervisionLoss, deep_supervision_weights
from nnunet_spine_ext.training.trainer import SpineTrainer
from tests.networks.contracts import CLASSES, SHRINK, SLICE_NETWORKS, home, trained, without_dropout
from tests.training.tiny import MakeTrainer, make_dataset_json, make_plans

pytestmark = pytest.mark.slow

RANKS = 2
BATCH = 4


def _first(wanted: Callable[[str], bool], names: list[str]) -> list[str]:
    return [name for name in names if wanted(name)][:1]


REPRESENTATIVES = [
    "hybrid",
    *_first(lambda name: getattr(NETWORKS[name], "supervision", "scales") == "full", list(NETWORKS)),
    *_first(lambda name: bool(auxiliary_terms(name, SHRINK.get(name, {}))), SLICE_NETWORKS),
    *_first(lambda name: not auxiliary_terms(name, SHRINK.get(name, {})), SLICE_NETWORKS),
]


def prepared(row: str) -> nn.Module:
    """A small network in training whose norms use stored statistics: those of a batch differ from process to process.

    nnU-Net makes them common with SyncBatchNorm, which needs GPUs.
    """
    network = without_dropout(trained(row, seed=1))
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return network


def loss_of(row: str) -> nn.Module:
    settings = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": distributed.is_initialized()}
    loss = DC_and_CE_loss(settings, {})
    if NETWORKS[row].family == "slice":
        terms = auxiliary_terms(row, SHRINK.get(row, {}))
        return AuxLoss(loss, terms) if terms else loss
    outputs = len(home(row).strides) - 1
    return DeepSupervisionLoss(loss, deep_supervision_weights(outputs, keep_lowest=True))


def targets_for(row: str, outputs: Any) -> Any:
    """One random label map, at the sizes of the outputs; for family slice the one at the input's size."""
    generator = torch.Generator().manual_seed(5)

    def labels(output: Tensor) -> Tensor:
        return torch.randint(0, CLASSES, (BATCH, 1, *output.shape[2:]), generator=generator)

    if NETWORKS[row].family == "slice":
        return labels(outputs[0] if isinstance(outputs, list) else outputs)
    return [labels(output) for output in outputs]


def batch_of(row: str) -> tuple[Tensor, Any]:
    torch.manual_seed(4)
    image = home(row).image(batch=BATCH)
    with torch.no_grad():
        return image, targets_for(row, prepared(row)(image))


def part(values: Any, rank: int) -> Any:
    """What one process gets of a batch."""
    share = slice(rank * BATCH // RANKS, (rank + 1) * BATCH // RANKS)
    return [value[share] for value in values] if isinstance(values, list) else values[share]


def gradients(network: nn.Module) -> dict[str, Tensor]:
    return {name.removeprefix("module."): p.grad for name, p in network.named_parameters() if p.grad is not None}


def join(rank: int, port: int) -> None:
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=RANKS)


def one_process(rank: int, port: int, row: str, file: Path) -> None:
    join(rank, port)
    image, targets = batch_of(row)
    network = DistributedDataParallel(prepared(row))  # as nnU-Net: unused parameters are not looked for
    loss = loss_of(row)
    for _ in range(2):  # a parameter without gradient is only told at the next step
        network.zero_grad()
        loss(network(part(image, rank)), part(targets, rank)).backward()
    if rank == 0:
        torch.save(gradients(network), file)
    distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("row", REPRESENTATIVES)
def test_gradients_of_two_processes_are_those_of_the_joined_batch(row: str, tmp_path: Path) -> None:
    file = tmp_path / "gradients.pth"
    mp.spawn(one_process, args=(free_port(), row, file), nprocs=RANKS)  # type: ignore[no-untyped-call]
    network = prepared(row)
    image, targets = batch_of(row)
    loss_of(row)(network(image), targets).backward()
    found, expected = torch.load(file), gradients(network)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


# ---- the trainer's own steps ---------------------------------------------------------------------------------------


class Hybrid(SpineTrainer):
    network_name = "hybrid"


def tiny_batch() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(6)
    target = [torch.randint(0, 3, (2, 1, 4, edge, edge), generator=generator).float() for edge in (32, 16, 8)]
    return {"data": torch.randn(2, 1, 4, 32, 32, generator=generator), "target": target}


def step_of(trainer: Any, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Weights after one step and the end of an epoch's validation."""
    trainer.on_train_epoch_start()
    trainer.train_step(batch)
    weights = {n.removeprefix("module."): p.detach().clone() for n, p in trainer.network.named_parameters()}
    trainer.on_validation_epoch_end([trainer.validation_step(batch)])
    return weights


def initialised(trainer: Any) -> Any:
    torch.manual_seed(8)
    trainer.initialize()
    return trainer


def one_trainer(rank: int, port: int, plans: dict[str, Any], folders: dict[str, str], file: Path) -> None:
    os.environ |= folders
    join(rank, port)
    wrapped = "nnunetv2.training.nnUNetTrainer.nnUNetTrainer.DDP"
    with mock.patch(wrapped, lambda network, device_ids: DistributedDataParallel(network)):
        trainer = Hybrid(deepcopy(plans), "3d_fullres", 0, make_dataset_json(), torch.device("cpu"))
        trainer.device = torch.device("cpu")  # nnU-Net assumes a GPU for each process
        trainer.grad_scaler = None
        initialised(trainer)
        assert trainer.is_ddp
        assert trainer.batch_size == 1
        batch = tiny_batch()
        mine = slice(rank, rank + 1)
        weights = step_of(trainer, {"data": batch["data"][mine], "target": [t[mine] for t in batch["target"]]})
    if rank == 0:
        torch.save(weights, file)
    distributed.destroy_process_group()


def test_a_step_of_the_trainer_in_two_processes_is_the_step_of_one(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    plans = {**make_plans(stages=4), "continue_training": False}
    folders = {name: os.environ[name] for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    folders["nnUNet_compile"] = "f"
    file = tmp_path / "weights.pth"
    mp.spawn(one_trainer, args=(free_port(), plans, folders, file), nprocs=RANKS)  # type: ignore[no-untyped-call]
    trainer = make_trainer(Hybrid, plans=plans)
    weights = step_of(initialised(trainer), tiny_batch())
    found = torch.load(file)
    assert found.keys() == weights.keys()
    for name, expected in weights.items():
        torch.testing.assert_close(found[name], expected, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
