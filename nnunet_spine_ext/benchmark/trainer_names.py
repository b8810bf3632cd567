"""Which trainers nnU-Net would find, read from the source files: importing nnU-Net for that takes seconds.

nnU-Net looks into its own package, then into the folders of `nnUNet_extTrainer`; `nnunet_spine train` puts ours first.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from nnunet_spine_ext.paths import TRAINERS_VARIABLE, trainers_dir
from nnunet_spine_ext.variant_names import GPU_AUGMENTATION, LENGTH, full_length

_CLASS = re.compile(r"^class (\w+)\(", re.MULTILINE)
_ANY_LENGTH = "epoch_variants("
"""What a module of trainers calls to answer for every `<Trainer>[GPUAug]_<N>epochs`."""


def known_trainers() -> dict[str, Path]:
    """Return the classes that nnU-Net's look-up can meet, and the file of each."""
    found: dict[str, Path] = {}
    for folder in _folders():
        for file in sorted(folder.rglob("*.py")):
            text = file.read_text(encoding="utf-8", errors="replace")
            for name in _CLASS.findall(text):
                found.setdefault(name, file)
                if _ANY_LENGTH in text:
                    found.setdefault(name + GPU_AUGMENTATION, file)
    return found


def takes_any_length(trainer: str, known: Mapping[str, Path]) -> bool:
    """Return whether a trainer also answers to `<trainer>_<N>epochs`."""
    return trainer in known and _ANY_LENGTH in known[trainer].read_text(encoding="utf-8", errors="replace")


def whats_wrong(trainer: str, budget: str, known: Mapping[str, Path]) -> tuple[str, str] | None:
    """Return finding and remedy for a trainer of a plan whose budget is the suffix `budget`; None if all is well."""
    length = LENGTH.search(trainer)
    if length:
        return f"{trainer} names its length", f"Write {full_length(trainer)}, and `epochs` for all trainers alike."
    if trainer not in known:
        near = get_close_matches(trainer, [name for name in known if "Trainer" in name], n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        return f"no trainer is called {trainer}", hint + "Ours: nnunet_spine networks; yours: nnUNet_extTrainer."
    if budget and trainer + budget not in known and not takes_any_length(trainer, known):
        return (
            f"{trainer} cannot be shortened to {trainer}{budget}",
            "Leave `epochs` out, or take SpineBaselineTrainer for nnU-Net's own network.",
        )
    return None


def _folders() -> Iterator[Path]:
    package = importlib.util.find_spec("nnunetv2")
    for location in (package.submodule_search_locations or ()) if package else ():
        yield Path(location) / "training" / "nnUNetTrainer"
    yield trainers_dir()
    for folder in os.environ.get(TRAINERS_VARIABLE, "").split(os.pathsep):
        if folder and Path(folder).is_dir():
            yield Path(folder)
