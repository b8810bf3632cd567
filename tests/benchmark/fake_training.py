"""Stands in for `nnUNetv2_train`: writes what it writes, in its order, in moments. Run: FOLD_FOLDER FLAG [HOW]."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import zipfile
from pathlib import Path

EPOCHS = 4


def main(fold: Path, flag: str, how: str) -> None:
    fold.mkdir(parents=True, exist_ok=True)
    with (fold / "calls.txt").open("a") as file:
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "-")
        print(flag, how, gpu, os.environ.get("NNUNET_SPINE_SEED", "-"), time.time(), file=file)
    print(f"training {fold.name} {flag}", flush=True)
    if how == "crashes":
        raise RuntimeError("this trainer always crashes")
    if how == "crashes differently":
        raise RuntimeError(f"attempt {'abcdefgh'[len((fold / 'calls.txt').read_text().splitlines())]} went wrong")
    if how == "crashes once" and len((fold / "calls.txt").read_text().splitlines()) == 1:
        raise RuntimeError("a chance failure")
    if how == "writes nothing":
        return
    if flag != "--val":
        train(fold, flag, seconds=30 if how == "slow" else 0.02)
    if how.startswith("copies "):
        copy_references(fold, *how.split()[1:])
    validate(fold)
    with (fold / "ends.txt").open("a") as file:
        print(time.time(), file=file)


def train(fold: Path, flag: str, *, seconds: float) -> None:
    latest = fold / "checkpoint_latest.pth"
    begun = int(zipfile.ZipFile(latest).read("epoch")) if flag == "--c" and latest.exists() else 0
    for epoch in range(begun + 1, EPOCHS + 1):
        write_checkpoint(latest, epoch)
        time.sleep(seconds)
    write_checkpoint(fold / "checkpoint_final.pth", EPOCHS)
    latest.unlink()


def copy_references(fold: Path, references: str, *cases: str) -> None:
    """Predict perfectly."""
    (fold / "validation").mkdir(exist_ok=True)
    for case in cases:
        shutil.copy(Path(references) / f"{case}.nii.gz", fold / "validation")


def validate(fold: Path) -> None:
    write_summary(fold / "validation" / "summary.json")


def write_checkpoint(file: Path, epoch: int = 1) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("epoch", str(epoch))
        archive.writestr("weights", b"\0" * 4096)


def write_summary(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"foreground_mean": {"Dice": 0.5}, "mean": {}, "metric_per_case": []}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "works")
