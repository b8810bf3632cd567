"""What must be right before a training is worth starting, each check with its remedy."""

from __future__ import annotations

import ast
import importlib.metadata
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.paths import TRAINERS_VARIABLE, trainers_dir

State = Literal["ok", "note", "failed"]

MINIMUM_FREE_GB = 20.0
"""A preprocessed MRSpineSeg and one fold's checkpoints take about this much."""

MINIMUM_SHARED_MEMORY_GB = 1.0
"""nnU-Net's loaders hand batches over in /dev/shm; containers start with 64 MB of it."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one check: `note` is worth knowing but stops nothing."""

    subject: str
    state: State
    finding: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"[{self.state:>6}] {self.subject}: {self.finding}"
        return f"{line}\n{'':9}-> {self.remedy}" if self.remedy else line


def diagnose() -> list[Check]:
    """Return every check in the order of a first installation; none of them raises."""
    groups: tuple[Callable[[], Iterator[Check]], ...] = (
        _versions, _folders, _external_trainers, _device, _shared_memory, _trainers_found,
    )  # fmt: skip
    return [check for group in groups for check in group()]


def _versions() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check(subject="Python", state="ok" if sys.version_info >= (3, 10) else "failed", finding=version)
    for package in ("nnunet_spine_ext", "nnunetv2", "torch", "dynamic-network-architectures", "SimpleITK"):
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            remedy = f"pip install {package}" if package != "nnunet_spine_ext" else "pip install . in the project"
            yield Check(subject=package, state="failed", finding="not installed", remedy=remedy)
            continue
        yield _supported(package, found)


def _supported(package: str, found: str) -> Check:
    if package == "nnunetv2" and not (2, 8) <= _major_minor(found) < (3, 0):
        # 2.8 is the first release that looks for trainers outside its own package.
        remedy = 'pip install "nnunetv2>=2.8,<3"'
        return Check(subject=package, state="failed", finding=f"{found} is not supported", remedy=remedy)
    return Check(subject=package, state="ok", finding=found)


def _major_minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)


def _folders() -> Iterator[Check]:
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        value = os.environ.get(variable)
        if not value:
            remedy = f"export {variable}=/a/folder (nnU-Net needs it for planning, training and prediction)"
            yield Check(subject=variable, state="failed", finding="not set", remedy=remedy)
            continue
        yield _folder(variable, Path(value))


def _folder(variable: str, folder: Path) -> Check:
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        finding = f"{folder} cannot be written ({existing} is no writable folder)"
        return Check(subject=variable, state="failed", finding=finding, remedy="Choose a folder that you may write to.")
    free_gb = shutil.disk_usage(existing).free / 1e9
    finding = f"{folder} ({free_gb:.0f} GB free)" + ("" if folder.exists() else ", will be made when first used")
    if free_gb < MINIMUM_FREE_GB:
        remedy = f"Less than {MINIMUM_FREE_GB:.0f} GB: a full dataset may not fit. Free space, or move the folder."
        return Check(subject=variable, state="note", finding=finding, remedy=remedy)
    return Check(subject=variable, state="ok", finding=finding)


def _external_trainers() -> Iterator[Check]:
    value = os.environ.get(TRAINERS_VARIABLE, "")
    folders = [p for p in value.split(os.pathsep) if p]
    missing = [p for p in folders if not Path(p).is_dir()]
    if missing:
        # nnU-Net passes over such a folder without a word.
        finding = f"names a folder that does not exist: {', '.join(missing)}"
        remedy = f'export {TRAINERS_VARIABLE}="$(nnunet_spine trainers-dir)"'
        yield Check(subject=TRAINERS_VARIABLE, state="failed", finding=finding, remedy=remedy)
    elif str(trainers_dir()) in {str(Path(p).resolve()) for p in folders}:
        yield Check(subject=TRAINERS_VARIABLE, state="ok", finding=value)
    else:
        remedy = (
            f'For the stock nnUNetv2_* commands: export {TRAINERS_VARIABLE}="$(nnunet_spine trainers-dir)". '
            "`nnunet_spine train` and `predict` set it themselves."
        )
        finding = "does not name our trainers" if folders else "not set"
        yield Check(subject=TRAINERS_VARIABLE, state="note", finding=finding, remedy=remedy)


def _device() -> Iterator[Check]:
    try:
        import torch
    except ImportError:
        return  # reported among the versions
    if not torch.cuda.is_available():
        remedy = "Training takes days without one. If there is a GPU: check the driver, and torch.version.cuda."
        yield Check(subject="GPU", state="note", finding="no CUDA device", remedy=remedy)
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        finding = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
        yield Check(subject=f"GPU {index}", state="ok", finding=finding)


def _shared_memory() -> Iterator[Check]:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return
    size_gb = shutil.disk_usage(folder).total / 1e9
    remedy = "" if size_gb >= MINIMUM_SHARED_MEMORY_GB else "Start the container with --shm-size=8g or --ipc=host."
    state: State = "note" if remedy else "ok"
    yield Check(subject="shared memory", state=state, finding=f"{size_gb:.1f} GB", remedy=remedy)


def _trainers_found() -> Iterator[Check]:
    """Ask nnU-Net's own look-up for every trainer of ours, with the variable set as the README says."""
    try:
        with redirect_stdout(io.StringIO()):
            from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
    except ImportError as error:
        remedy = 'pip install "nnunetv2>=2.8,<3"'
        yield Check(subject="trainers", state="failed", finding=f"nnU-Net cannot be imported: {error}", remedy=remedy)
        return
    before = os.environ.get(TRAINERS_VARIABLE)
    os.environ[TRAINERS_VARIABLE] = str(trainers_dir())
    try:
        yield from (_find_trainer(find, name) for name in trainer_names())
    finally:
        os.environ.pop(TRAINERS_VARIABLE)
        if before is not None:
            os.environ[TRAINERS_VARIABLE] = before


def _find_trainer(find: Callable[[str], type], name: str) -> Check:
    try:
        with redirect_stdout(io.StringIO()):
            find(name)
    except Exception as error:  # whatever an import raises is the finding
        reason = f"{type(error).__name__}: {error}"
        return Check(subject=name, state="failed", finding=reason, remedy="Reinstall nnunet_spine_ext.")
    return Check(subject=name, state="ok", finding="found by nnU-Net")


def trainer_names() -> list[str]:
    """Return the names of our trainers, read from the source so that a module that fails to import counts too."""
    names = []
    for module in sorted(trainers_dir().glob("spine_*.py")):
        classes = [n for n in ast.parse(module.read_text()).body if isinstance(n, ast.ClassDef)]
        names += [c.name for c in classes if not c.name.startswith("_")]
    if not names:
        raise SetupError(f"No trainer is defined in {trainers_dir()}. Reinstall nnunet_spine_ext.")
    return names
