"""Prediction with nnU-Net in a process of its own: what robustness and low-budget curves have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_spine_ext.benchmark.jobs.process import telling_lines
from nnunet_spine_ext.benchmark.jobs.state import FINAL
from nnunet_spine_ext.benchmark.jobs.supervisor import start_supervised, stop_supervised
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.errors import SpineExtError
from nnunet_spine_ext.networks.plans_file import previous_stage


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """How nnU-Net predicts; its own defaults."""

    device: str = "cuda"
    """As nnU-Net's -device: cuda, cpu or mps."""
    workers: int = 2
    """Loading and writing processes; 0 does both in the predicting process."""
    mirroring: bool = True
    """Average over mirrored images. Without it prediction is several times as fast and a little less accurate."""


NNUNETS_DEFAULTS = PredictionOptions()


@dataclass(frozen=True, kw_only=True)
class PredictionTask:
    """One call of nnU-Net's prediction."""

    model: Model
    dataset: str
    """`Dataset<ID>_<Name>`."""
    folds: tuple[int, ...]
    """The folds whose networks are averaged."""
    images: Path
    """Folder of `<case>_0000…`; everything in it is predicted."""
    output: Path
    results: Path
    """What nnU-Net's variable `nnUNet_results` names: where the models lie."""
    checkpoint: str = FINAL
    options: PredictionOptions = NNUNETS_DEFAULTS
    previous_stage: Path | None = None
    """For a cascade: the label maps of the stage before."""

    @property
    def model_folder(self) -> Path:
        """nnU-Net's folder of the model, with its plans and folds."""
        return self.results / self.dataset / self.model.folder_name

    @property
    def arguments(self) -> list[str]:
        """The arguments of nnUNetv2_predict."""
        workers = str(self.options.workers)
        return [
            *("-i", str(self.images), "-o", str(self.output), "-d", self.dataset),
            *("-tr", self.model.trainer, "-p", self.model.plans, "-c", self.model.configuration),
            *("-f", *map(str, self.folds), "-chk", self.checkpoint),
            *("-device", self.options.device, "-npp", workers, "-nps", workers),
            *(() if self.options.mirroring else ("--disable_tta",)),
            *(() if self.previous_stage is None else ("-prev_stage_predictions", str(self.previous_stage))),
        ]


Predictor = Callable[[PredictionTask], None]
"""Writes one label map per case into `output`, or raises."""


def predict(task: PredictionTask, predictor: Predictor | None = None) -> None:
    """Predict; for a cascade the stage before first, with the same folds and its final weights.

    Args:
        task: what to predict.
        predictor: what predicts; None for nnU-Net in a process of its own.

    Raises:
        SpineExtError: it failed; with the end of what nnU-Net printed.
    """
    run = predictor or predict_apart
    plans = task.model_folder / "plans.json"
    before = previous_stage(plans, task.model.configuration) if plans.is_file() else None
    if before is not None:
        output = task.output.with_name(f"{task.output.name}_{before}")
        model = replace(task.model, configuration=before)
        predict(replace(task, model=model, output=output, checkpoint=FINAL), predictor)
        task = replace(task, previous_stage=output)
    run(task)


def predict_apart(task: PredictionTask) -> None:
    """Run `nnunet_spine predict`; nothing of it outlives this process.

    Raises:
        SpineExtError: it failed; with the end of what nnU-Net printed.
    """
    task.output.mkdir(parents=True, exist_ok=True)
    log = task.output.with_name(f"{task.output.name}.log")
    with log.open("wb") as stream:
        process = start_supervised(
            [sys.executable, "-m", "nnunet_spine_ext", "predict", *task.arguments],
            output=stream,
            environment={"nnUNet_results": str(task.results)},
        )
    try:
        code = process.wait()
    finally:
        stop_supervised(process)
    if code:
        said = telling_lines(log.read_text(encoding="utf-8", errors="replace"))
        raise SpineExtError(f"{task.model.title}: the prediction ended with exit code {code}.\n{said}")
