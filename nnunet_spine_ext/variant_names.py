"""How the variants of a trainer are called: `<Trainer>[GPUAug][_<N>epochs[_<M>iterations]]`.

`training/variants.py` makes those of ours; nnU-Net has lengths of its own (`nnUNetTrainer_250epochs`).
"""

from __future__ import annotations

import re

GPU_AUGMENTATION = "GPUAug"
LENGTH = re.compile(r"_[1-9][0-9]*epochs?(_[1-9][0-9]*iterations)?$")


def full_length(trainer: str) -> str:
    """Return a trainer's name without its length: SpineHybridTrainer_5epochs → SpineHybridTrainer."""
    return LENGTH.sub("", trainer)


def varied_trainer(trainer: str) -> str:
    """Return the trainer that a variant is of: SpineHybridTrainerGPUAug_5epochs → SpineHybridTrainer."""
    return full_length(trainer).removesuffix(GPU_AUGMENTATION)
