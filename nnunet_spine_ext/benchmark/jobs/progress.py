"""How far a training is, read from the log that nnU-Net writes into the fold's folder."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_EPOCH = re.compile(r": Epoch (\d+)\s*$")
_DICE = re.compile(r": Pseudo dice \[(.*)\]")
_SECONDS = re.compile(r": Epoch time: ([\d.]+) s")
_PREDICTING = re.compile(r": predicting (\S+)")
_VALUE = re.compile(r"(?:np\.float\d+\()?(-?[\d.]+(?:e-?\d+)?|nan)\)?")
_RECENT = 10
"""Epochs whose median time says how long the rest will take."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a log tells; None for what it does not tell yet."""

    epoch: int = 0
    """Epochs that are through."""
    epochs: int | None = None
    """Epochs in all."""
    dice: float | None = None
    """nnU-Net's pseudo Dice of the last epoch, the mean over structures: of random patches, an estimate only."""
    epoch_seconds: float | None = None
    validated: int = 0
    """Cases whose prediction has begun."""

    @property
    def seconds_left(self) -> float | None:
        """Return how long the rest of the training will take, without the validation; None where it cannot be told."""
        if self.epochs is None or self.epoch_seconds is None:
            return None
        return max(0, self.epochs - self.epoch) * self.epoch_seconds


def read_progress(fold: Path) -> Progress:
    """Return what the logs in nnU-Net's folder of a fold tell; each continuation of a training has its own."""
    lines = (line for log in sorted(fold.glob("training_log_*.txt")) for line in _lines(log))
    return parse_log(lines, epochs=_epochs(fold / "debug.json"))


def parse_log(lines: Iterable[str], *, epochs: int | None = None) -> Progress:
    """Return what the lines of a log tell.

    Args:
        lines: of all logs of a fold, the oldest first.
        epochs: epochs in all.
    """
    current, epoch, dice, validated = 0, 0, None, set[str]()
    seconds: list[float] = []
    for line in lines:
        if match := _EPOCH.search(line):
            current = int(match[1])
            validated.clear()
        elif match := _DICE.search(line):
            dice = _mean(match[1])
        elif match := _SECONDS.search(line):
            seconds.append(float(match[1]))
            epoch = current + 1
        elif match := _PREDICTING.search(line):
            validated.add(match[1])
    return Progress(
        epoch=epoch,
        epochs=epochs,
        dice=dice,
        epoch_seconds=statistics.median(seconds[-_RECENT:]) if seconds else None,
        validated=len(validated),
    )


def last_sign_of_life(fold: Path) -> float | None:
    """Return when nnU-Net last wrote into the folder, in seconds since the epoch; None if there is nothing."""
    files = [*fold.glob("*"), *fold.glob("validation/*")] if fold.is_dir() else []
    times = []
    for file in files:
        try:
            times.append(file.stat().st_mtime)
        except FileNotFoundError:  # replaced meanwhile
            continue
    return max(times, default=None)


def _mean(listed: str) -> float | None:
    values = [float(match[1]) for item in listed.split(",") if (match := _VALUE.search(item))]
    there = [value for value in values if not math.isnan(value)]
    return sum(there) / len(there) if there else None


def _lines(log: Path) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _epochs(debug: Path) -> int | None:
    """Return how many epochs the trainer says it has, in what nnU-Net writes when it starts."""
    try:
        return int(json.loads(debug.read_text(encoding="utf-8"))["num_epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
