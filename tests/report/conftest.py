"""Fixtures of the submission: the challenge's folder, predictions for it, and the zip made of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nnunet_spine_ext.data.geometry import read_image, write_image
from nnunet_spine_ext.data.phantom import write_phantom
from nnunet_spine_ext.report.submission import write_submission
from tests.report.challenge import TEST_CASES, as_uint8, reference_mask


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("challenge")
    write_phantom(out, cases=0, test_cases=3, size=64, slices=8)
    return out


@pytest.fixture
def challenge(pristine: Path, tmp_path: Path) -> Path:
    """The challenge's folder with three test cases (its training folder is not needed here)."""
    return shutil.copytree(pristine, tmp_path / "challenge")


@pytest.fixture
def predictions(challenge: Path, tmp_path: Path) -> Path:
    """Perfect label maps of the whole images, named as nnU-Net names them."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    for number in TEST_CASES:
        write_image(as_uint8(read_image(reference_mask(challenge, number))), folder / f"Case{number:03d}.nii.gz")
    return folder


@pytest.fixture
def archive(challenge: Path, predictions: Path, tmp_path: Path) -> Path:
    return write_submission(predictions, challenge / "test1", tmp_path / "good.zip")
