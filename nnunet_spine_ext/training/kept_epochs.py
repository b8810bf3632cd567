"""Checkpoints that stay: what a training had reached after so many epochs.

    export NNUNET_SPINE_KEEP_EPOCHS=10,50,100

nnU-Net overwrites its checkpoints while it trains. After each of these numbers of epochs a copy stays beside them, as
`checkpoint_epoch_0010.pth`, for curves along a training: `nnUNetv2_predict … -chk checkpoint_epoch_0010.pth`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnunet_spine_ext.errors import SetupError

KEEP_VARIABLE = "NNUNET_SPINE_KEEP_EPOCHS"


def kept_epochs_in_environment() -> tuple[int, ...]:
    """Return the numbers of epochs that the environment names, in rising order, each once.

    Raises:
        SetupError: they are not whole numbers of 1 or more, with commas between.
    """
    named = os.environ.get(KEEP_VARIABLE, "").strip()
    if not named:
        return ()
    parts = [part.strip() for part in named.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise SetupError(
            f"{KEEP_VARIABLE} is {named!r}. Give numbers of epochs with commas between, such as 10,50,100, or unset it."
        )
    return tuple(sorted({int(part) for part in parts}))


def kept_checkpoint_name(epochs: int) -> str:
    """Return the file name of the checkpoint that is kept after `epochs` epochs."""
    return f"checkpoint_epoch_{epochs:04d}.pth"


def without_effect(kept: Sequence[int], *, done: int, total: int, folder: Path) -> Iterator[str]:
    """Yield a warning for the numbers of epochs whose checkpoint this run will not write.

    Args:
        kept: numbers of epochs to keep.
        done: epochs that the training has behind it.
        total: epochs that it has in all.
        folder: of its checkpoints.
    """
    beyond = [epochs for epochs in kept if epochs > total]
    passed = [epochs for epochs in kept if epochs < done and not (folder / kept_checkpoint_name(epochs)).exists()]
    if beyond:
        yield f"WARNING: {KEEP_VARIABLE} names {_listed(beyond)} epochs, but the training ends after {total}."
    if passed:
        yield (
            f"WARNING: {KEEP_VARIABLE} names {_listed(passed)} epochs, but the training goes on after {done}, and no "
            "checkpoint was kept then."
        )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
