"""Trainings that can be repeated: random numbers from a seed that the environment names.

    export NNUNET_SPINE_SEED=0

Every epoch starts its random numbers anew, from (seed, fold, epoch, process), and so does the building of the network.
A training that was stopped and continued, from whichever checkpoint or from none, therefore meets the random numbers of
an undisturbed one. On a CPU, with nnU-Net's augmentation in the training process (`nnUNet_n_proc_DA=0`) and the same
number of threads, it ends with the very same weights. Augmentation workers run ahead of the training and draw their own
numbers, and a GPU adds up in no fixed order: there, a seed gives runs that differ in their random numbers, but none can
be repeated exactly.
Without the variable, all is as nnU-Net has it.
"""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from nnunet_spine_ext.errors import SetupError

SEED_VARIABLE = "NNUNET_SPINE_SEED"

SEED_KEY = "nnunet_spine_ext_seed"
"""Key in a checkpoint's `init_args` that holds the seed. nnU-Net reads only "configuration" there."""


def seed_in_environment() -> int | None:
    """Return the seed that the environment names, or None.

    Raises:
        SetupError: it is not a whole number of 0 or more.
    """
    named = os.environ.get(SEED_VARIABLE, "").strip()
    if not named:
        return None
    if not (named.isascii() and named.isdigit()):
        raise SetupError(f"{SEED_VARIABLE} is {named!r}. Give a whole number of 0 or more, such as 0, or unset it.")
    return int(named)


def seed_network(seed: int, *, fold: int | str) -> None:
    """Start the random numbers that a network is built with: the same in all processes of a training."""
    _start(_words(seed, fold, ()))


def seed_epoch(seed: int, *, fold: int | str, epoch: int, rank: int = 0) -> None:
    """Start the random numbers of an epoch.

    Args:
        seed: of the training.
        fold: number of the fold, or "all".
        epoch: from 0.
        rank: of this process, where several train together (DDP): each draws windows of its own.
    """
    _start(_words(seed, fold, (epoch, rank)))


def fold_seed(seed: int | None, *, fold: int | str) -> int:
    """Return a number for draws that are made once for a whole training; without a seed, of the fold alone."""
    return _fold_number(fold) if seed is None else _words(seed, fold, ())[0]


def seed_lines(seed: int | None, *, device: torch.device, workers: int) -> list[str]:
    """Return what the log says about the seed, and whether the training can be repeated to the byte."""
    if seed is None:
        return []
    exact = device.type == "cpu" and workers == 0
    reach = (
        "this training can be repeated, and continued, to the byte"
        if exact
        else "repeated to the byte only on a CPU with nnUNet_n_proc_DA=0"
    )
    return [f"Seed: {seed} ({SEED_VARIABLE}); {reach}."]


def best_so_far(values: Iterable[float]) -> float | None:
    """Return what nnU-Net holds for the best of these values, taken one after the other; None if there are none."""
    best: float | None = None
    for value in values:
        if best is None or value > best:
            best = value
    return best


def _words(seed: int, fold: int | str, place: Sequence[int]) -> list[int]:
    # Numbers of `place` are shifted by one: a SeedSequence takes missing numbers for zeros.
    sequence = np.random.SeedSequence([seed, _fold_number(fold), *(number + 1 for number in place)])
    return [int(word) for word in sequence.generate_state(3)]


def _fold_number(fold: int | str) -> int:
    return zlib.crc32(str(fold).encode())


def _start(words: Sequence[int]) -> None:
    random.seed(words[0])
    np.random.seed(words[1])
    torch.manual_seed(words[2])
