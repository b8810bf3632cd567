"""Fixtures for every test: a clean environment, nnU-Net's three folders, nnU-Net's own trainer look-up.

Nothing here imports nnU-Net or torch at module level: tests that need neither must not pay for them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

# nnU-Net reads this one when it is imported, which test modules do before any fixture runs.
os.environ["nnUNet_def_n_proc"] = "1"  # noqa: SIM112  (nnU-Net's own spelling)
# Threads that wait for work must not burn the cores that other processes need.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Where several test processes share the cores (-n), each of them, and all that it starts, computes on one.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True, kw_only=True)
class NnunetFolders:
    """The folders that nnU-Net's three variables name; all exist and are empty."""

    raw: Path
    preprocessed: Path
    results: Path


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset every `nnUNet_*` variable, then keep nnU-Net small: no augmentation workers, one process, no compiler."""
    monkeypatch.setenv("nnUNet_extTrainer", "")  # so that what a test sets there is undone after it
    for name in list(os.environ):
        if name.startswith("nnUNet_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_def_n_proc", "1")
    monkeypatch.setenv("nnUNet_compile", "f")


@pytest.fixture
def nnunet_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NnunetFolders:
    """Set `nnUNet_raw`, `nnUNet_preprocessed` and `nnUNet_results` to fresh folders (nnU-Net reads them when asked)."""
    folders = {name: tmp_path / f"nnUNet_{name}" for name in ("raw", "preprocessed", "results")}
    for folder in folders.values():
        folder.mkdir()
        monkeypatch.setenv(folder.name, str(folder))
    return NnunetFolders(**folders)


@pytest.fixture
def find_trainer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], type]:
    """Return nnU-Net's own look-up of a trainer by name, with `nnUNet_extTrainer` set to our folder."""
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    monkeypatch.setenv("nnUNet_extTrainer", str(REPOSITORY / "trainers"))
    return recursive_find_trainer_class_by_name  # type: ignore[no-any-return]


@pytest.fixture
def test_data() -> Path:
    """Return the folder of real images (`NNUNET_SPINE_TEST_DATA`, else beside the checkout), or skip."""
    folder = Path(os.environ.get("NNUNET_SPINE_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images: {folder} is absent (set NNUNET_SPINE_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def preprocessed_once(tmp_path_factory: pytest.TempPathFactory) -> NnunetFolders:
    """The tiny dataset (tests/training/tiny.py) in folders of its own, 2d and 3d_fullres; never written to again."""
    from tests.training.tiny import write_tiny_dataset

    root = tmp_path_factory.mktemp("tiny")
    folders = NnunetFolders(raw=root / "raw", preprocessed=root / "preprocessed", results=root / "results")
    folders.raw.mkdir()
    folders.preprocessed.mkdir()
    write_tiny_dataset(folders, configurations=("2d", "3d_fullres"))
    return folders


@pytest.fixture
def tiny(preprocessed_once: NnunetFolders, nnunet_folders: NnunetFolders) -> NnunetFolders:
    """A copy of the tiny dataset in the folders that nnU-Net's variables name."""
    for kind in ("raw", "preprocessed"):
        shutil.copytree(getattr(preprocessed_once, kind), getattr(nnunet_folders, kind), dirs_exist_ok=True)
    return nnunet_folders


@pytest.fixture
def make_trainer(tiny: NnunetFolders, find_trainer: Callable[[str], type]) -> Callable[..., Any]:
    """Return a function that makes a trainer as nnUNetv2_train does; overridable plans and dataset.json."""
    import torch

    from tests.training.tiny import make_dataset_json, make_plans

    def make(
        trainer: str | type = "SpineBaselineTrainer",
        *,
        configuration: str = "3d_fullres",
        plans: Mapping[str, Any] | None = None,
        dataset: Mapping[str, Any] | None = None,
    ) -> Any:
        chosen = find_trainer(trainer) if isinstance(trainer, str) else trainer
        plan = {**deepcopy(dict(plans or make_plans())), "continue_training": False}
        return chosen(plan, configuration, 0, dict(dataset or make_dataset_json()), torch.device("cpu"))

    return make
