"""How far a job is, read from nnU-Net's own files only, so that folds trained by hand count like any other.

validation/summary.json   done
checkpoint_final.pth      trained; only the validation is left (--val)
checkpoint_latest.pth     can be continued (--c); so can checkpoint_best.pth, a whole checkpoint that nnU-Net takes too
none of them              not begun

nnU-Net goes on from `checkpoint_latest.pth`, which it writes every 50 epochs, even if the best checkpoint is a later
one. A job whose time slots are shorter than 50 epochs would then never end: `take_newest_checkpoint`.

A file that a kill cut short is no state: `set_aside_cut_files` gets it out of nnU-Net's way, which would read it.
"""

from __future__ import annotations

import enum
import json
import shutil
import zipfile
from pathlib import Path

from nnunet_spine_ext.data.files import whole_file

FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"
CUT_SUFFIX = ".cut"


class State(enum.Enum):
    """What is left to do."""

    FRESH = "not begun"
    CONTINUE = "begun"
    VALIDATE = "trained"
    DONE = "done"


def state_of(fold: Path) -> State:
    """Return the state of nnU-Net's folder of one fold, which need not be there."""
    if is_whole_summary(fold / "validation" / "summary.json"):
        return State.DONE
    if is_whole_checkpoint(fold / FINAL):
        return State.VALIDATE
    if is_whole_checkpoint(fold / LATEST) or is_whole_checkpoint(fold / BEST):
        return State.CONTINUE
    return State.FRESH


def is_whole_checkpoint(file: Path) -> bool:
    """Return whether a checkpoint was written to its end: torch writes zip archives, whose directory comes last."""
    try:
        with zipfile.ZipFile(file) as archive:
            return bool(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def is_whole_summary(file: Path) -> bool:
    """Return whether a validation's summary was written to its end."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "metric_per_case" in content


def set_aside_cut_files(fold: Path) -> list[Path]:
    """Rename checkpoints that are not whole, by adding `.cut`; return their new names."""
    moved = []
    for name in (FINAL, LATEST, BEST):
        file = fold / name
        if file.exists() and not is_whole_checkpoint(file):
            moved.append(file.replace(file.with_name(name + CUT_SUFFIX)))
    return moved


def take_newest_checkpoint(fold: Path) -> bool:
    """Make the best checkpoint the one to go on from, if it was written after the latest; return whether it was."""
    best, latest = fold / BEST, fold / LATEST
    if not (is_whole_checkpoint(best) and latest.exists() and best.stat().st_mtime > latest.stat().st_mtime):
        return False
    with whole_file(latest) as partial:  # a copy: nnU-Net's own trainer writes into the file that is there
        shutil.copy2(best, partial)
    return True
