"""Seconds and memory of training steps: a trainer's own `train_step` on its own loaders, nothing saved.

Runs in a process of its own (`python -m`), so that the peak is that of this trainer, and a GPU without memory ends
nothing else. nnU-Net's benchmarking trainers subclass the stock trainer; this takes any trainer as it is.

The order matters: warm-up (compiler, choice of convolution algorithms, batches that loaders prepared in advance), then
blocks of steps with loading, then blocks with one batch that already lies on the device.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nnunet_spine_ext.benchmark.costs.plan import PlannedModel, built_trainer
from nnunet_spine_ext.benchmark.costs.process import answer_question, measured_apart, start_as_nnunet


@dataclass(frozen=True, kw_only=True)
class TimingOptions:
    """How long is measured."""

    warm_up_steps: int | None = None
    """None: one epoch of the trainer's, as long as it has set."""
    steps: int = 50
    """Of a block; a block gives one figure."""
    blocks: int = 3
    """With loading, and as many without; the median counts."""
    timeout_seconds: float | None = 3600
    """After which the process is killed."""

    @staticmethod
    def for_device(device: str) -> TimingOptions:
        """Return the defaults: on a CPU, where a step may take minutes, single steps after one for warming up."""
        return TimingOptions() if device != "cpu" else TimingOptions(warm_up_steps=1, steps=1)


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """What was measured."""

    seconds: tuple[float, ...]
    """Per step, for each block of steps on one batch that lies on the device."""
    seconds_with_loading: tuple[float, ...]
    """Per step, for each block that takes its batches from the loader."""
    warm_up_steps: int
    steps: int
    batch_size: int
    loading_processes: int
    compiled: bool
    """By torch.compile."""
    precision: str
    allocated_bytes: int | None
    """The most that tensors took on the GPU; None on a CPU."""
    reserved_bytes: int | None
    """The most that torch had asked the GPU for."""
    used_by_others_bytes: int | None
    """What was taken on the GPU before the trainer was built, the CUDA context of this process included."""
    load_before: float | None = None
    """Processes that wanted a core in the minute before; None where the system does not say."""
    cores: int | None = None


def time_steps(
    planned: PlannedModel, *, device: str, options: TimingOptions, results: Path | None = None, fold: int = 0
) -> StepTimes:
    """Measure in a process of its own.

    Args:
        planned: trainer, plans and configuration; its data must be preprocessed.
        device: "cuda" or "cpu".
        options: how long.
        results: what `nnUNet_results` names; a cascade reads the labels of its previous stage there.
        fold: whose training cases are loaded.

    Raises:
        NotMeasuredError: with the reason.
    """
    question = {
        "planned": {**asdict(planned), "folder": str(planned.folder)},
        "device": device,
        "options": asdict(options),
        "results": None if results is None else str(results),
        "fold": fold,
    }
    answer = measured_apart(__name__, question, timeout_seconds=options.timeout_seconds)
    answer |= {name: tuple(answer[name]) for name in ("seconds", "seconds_with_loading")}
    return StepTimes(**answer)


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    planned = PlannedModel(**{**question["planned"], "folder": Path(question["planned"]["folder"])})
    options = TimingOptions(**question["options"])
    device = question["device"]
    start_as_nnunet(device)
    alone = {
        "used_by_others_bytes": _used_bytes() if device == "cuda" else None,
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "cores": os.cpu_count(),
    }
    with built_trainer(planned, fold=question["fold"], device=device) as trainer:
        if trainer.is_cascaded and question["results"]:
            trainer.folder_with_segs_from_previous_stage = str(_previous_stage(trainer, Path(question["results"])))
        times = time_trainer(trainer, options=options)
    return asdict(times) | alone


def _previous_stage(trainer: Any, results: Path) -> Path:  # noqa: ANN401  (nnU-Net has no types)
    """Return where the real training of a cascade finds the labels of the stage before."""
    model = Path(trainer.folder_with_segs_from_previous_stage).relative_to(Path(trainer.output_folder_base).parents[1])
    return results / model


def time_trainer(trainer: Any, *, options: TimingOptions) -> StepTimes:  # noqa: ANN401
    """Time a trainer that was constructed and not yet initialised; writes into its output folder, saves no weights.

    Args:
        trainer: any nnU-Net trainer.
        options: how long.
    """
    trainer.on_train_start()
    try:
        trainer.on_train_epoch_start()
        warm_up = trainer.num_iterations_per_epoch if options.warm_up_steps is None else options.warm_up_steps
        _run(trainer, lambda: next(trainer.dataloader_train), steps=warm_up)
        loading = [
            _run(trainer, lambda: next(trainer.dataloader_train), steps=options.steps) for _ in range(options.blocks)
        ]
        batch = _on_device(next(trainer.dataloader_train), trainer.device)
        computing = [_run(trainer, lambda: batch, steps=options.steps) for _ in range(options.blocks)]
    finally:
        _stop_loaders(trainer)
    return _times(trainer, loading, computing, warm_up=warm_up, steps=options.steps)


def _run(trainer: Any, batch: Callable[[], dict[str, Any]], *, steps: int) -> float:  # noqa: ANN401
    """Train `steps` steps; return the seconds of one. The clock is read when the device has done its work."""
    _synchronize(trainer.device)
    start = time.perf_counter()
    for _ in range(steps):
        trainer.train_step(batch())
    _synchronize(trainer.device)
    return (time.perf_counter() - start) / max(1, steps)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _on_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return a batch whose image and targets lie on the device, so that a step moves nothing."""
    target = batch["target"]
    moved = [t.to(device) for t in target] if isinstance(target, list) else target.to(device)
    return {**batch, "data": batch["data"].to(device), "target": moved}


def _stop_loaders(trainer: Any) -> None:  # noqa: ANN401
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        finish = getattr(loader, "_finish", None)
        if finish is not None:
            finish()


def _times(
    trainer: Any,  # noqa: ANN401
    loading: list[float],
    computing: list[float],
    *,
    warm_up: int,
    steps: int,
) -> StepTimes:
    from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
    from torch._dynamo import OptimizedModule

    on_gpu = trainer.device.type == "cuda"
    return StepTimes(
        seconds=tuple(computing),
        seconds_with_loading=tuple(loading),
        warm_up_steps=warm_up,
        steps=steps,
        batch_size=int(trainer.batch_size),
        loading_processes=int(get_allowed_n_proc_DA()),
        compiled=isinstance(trainer.network, OptimizedModule),
        precision=_precision(trainer),
        allocated_bytes=torch.cuda.max_memory_allocated(trainer.device) if on_gpu else None,
        reserved_bytes=torch.cuda.max_memory_reserved(trainer.device) if on_gpu else None,
        used_by_others_bytes=None,
    )


def _precision(trainer: Any) -> str:  # noqa: ANN401
    """Say how nnU-Net's train_step computes: half precision on a GPU, scaled gradients where there is a scaler."""
    if trainer.device.type != "cuda":
        return "fp32"
    return "fp16 autocast" if trainer.grad_scaler is not None else "autocast without a gradient scaler"


def _used_bytes() -> int:
    free, total = torch.cuda.mem_get_info()
    return int(total - free)


if __name__ == "__main__":
    answer_question(_answer)
