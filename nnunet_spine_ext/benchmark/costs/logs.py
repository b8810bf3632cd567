"""How long trainings took, read from the logs that nnU-Net leaves in the folder of every fold."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from nnunet_spine_ext.benchmark.jobs.state import FINAL

_EPOCH = re.compile(r"^[\d\-]+ [\d:.]+: Epoch (\d+) *$")
_SECONDS = re.compile(r"^[\d\-]+ [\d:.]+: Epoch time: ([\d.eE+\-]+) s *$")


@dataclass(frozen=True, kw_only=True)
class FoldLog:
    """The training of one fold, to its end."""

    fold: str
    epoch_seconds: tuple[float, ...]
    """Of each epoch that the logs hold, validation batches included. Of an epoch trained twice (the training was
    killed and continued) the last counts: the one that the weights come from."""
    epochs: int
    iterations: int | None
    """Of an epoch; None where nnU-Net's debug.json does not say."""
    device: str
    """The GPU's name, or cpu."""


@dataclass(frozen=True, kw_only=True)
class TrainingTime:
    """The training of a model, over its finished folds."""

    hours: float
    """Of one fold: the median epoch times the number of epochs."""
    epoch_seconds: float
    """The median."""
    epochs: int
    iterations: int | None
    folds: tuple[str, ...]
    devices: tuple[str, ...]


def training_time(logs: Sequence[FoldLog]) -> TrainingTime | None:
    """Return how long one fold of a model trains; None where no finished fold has left a log.

    The median is not moved by the first epoch, in which torch compiles, nor by epochs beside another job.
    """
    seconds = [s for log in logs for s in log.epoch_seconds]
    if not seconds:
        return None
    epochs = max(log.epochs for log in logs)
    typical = median(seconds)
    iterations = {log.iterations for log in logs}
    return TrainingTime(
        hours=typical * epochs / 3600,
        epoch_seconds=typical,
        epochs=epochs,
        iterations=iterations.pop() if len(iterations) == 1 else None,
        folds=tuple(log.fold for log in logs),
        devices=tuple(sorted({log.device for log in logs})),
    )


def finished_folds(model: Path) -> list[FoldLog]:
    """Read the logs of the folds of a model (nnU-Net's folder of it) that were trained to the end."""
    folders = sorted(path.parent for path in model.glob(f"fold_*/{FINAL}"))
    return [log for folder in folders if (log := _fold(folder)).epoch_seconds]


def _fold(folder: Path) -> FoldLog:
    seconds: dict[int, float] = {}
    for file in sorted(folder.glob("training_log_*.txt"), key=_started):
        seconds |= epoch_seconds(file.read_text(encoding="utf-8", errors="replace"))
    facts = _facts(folder / "debug.json")
    iterations = facts.get("num_iterations_per_epoch")
    return FoldLog(
        fold=folder.name.removeprefix("fold_"),
        epoch_seconds=tuple(seconds[epoch] for epoch in sorted(seconds)),
        epochs=max(seconds, default=-1) + 1,
        iterations=int(iterations) if iterations else None,
        device=facts.get("gpu_name") or facts.get("device", "an unknown device"),
    )


def epoch_seconds(log: str) -> dict[int, float]:
    """Return the seconds of each epoch that a training log has to its end: epoch → seconds."""
    seconds: dict[int, float] = {}
    epoch = None
    for line in log.splitlines():
        if begins := _EPOCH.match(line):
            epoch = int(begins[1])
        elif (ends := _SECONDS.match(line)) and epoch is not None:
            seconds[epoch] = float(ends[1])
    return seconds


def _started(log: Path) -> tuple[int, ...]:
    """Return when a log was begun, from its name: year, month, day, hour, minute, second, not all padded with zeros."""
    return tuple(int(number) for number in re.findall(r"\d+", log.stem))


def _facts(debug: Path) -> dict[str, str]:
    """Return nnU-Net's record of the training's attributes, all of them words."""
    try:
        content: dict[str, str] = json.loads(debug.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return content
