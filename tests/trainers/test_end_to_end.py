"""Train, continue and predict through nnU-Net's own entry points, on a tiny dataset and the CPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from nnunet_spine_ext.training.entry import predict, train
from tests.conftest import NnunetFolders
from tests.training.tiny import NAME, ORDERED

TRAINER = "SpineHybridTrainer_1epochs_2iterations"


def mark_as_ordered(folders: NnunetFolders) -> None:
    """Say in dataset.json what our converters say."""
    path = folders.preprocessed / NAME / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"spine": ORDERED}))


def labels_in(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.fixture(autouse=True)
def keep_threads() -> Iterator[None]:
    """Undo what nnU-Net's command does on a CPU: torch on all cores, for the rest of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("configuration", "axes"), [("3d_fullres", (0, 2)), pytest.param("2d", (1,), marks=pytest.mark.slow)]
)
def test_train_validate_and_predict(tiny: NnunetFolders, configuration: str, axes: tuple[int, ...]) -> None:
    mark_as_ordered(tiny)
    train(["901", configuration, "0", "-tr", TRAINER, "-device", "cpu"])

    model = tiny.results / NAME / f"{TRAINER}__nnUNetPlans__{configuration}"
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["trainer_name"] == TRAINER
    assert checkpoint["current_epoch"] == 1
    assert checkpoint["inference_allowed_mirroring_axes"] == axes
    assert len(checkpoint["logging"]["train_losses"]) == 1
    summary = json.loads((model / "fold_0" / "validation" / "summary.json").read_text())
    assert [Path(c["prediction_file"]).name for c in summary["metric_per_case"]] == ["t4.nii.gz"]
    (log,) = (model / "fold_0").glob("training_log*.txt")
    assert "SpineHybrid" in log.read_text()
    assert "Memory of a training step, counted" in log.read_text()

    # Without worker processes: nnU-Net's own choice for -npp 0 -nps 0.
    output = tiny.results / "predictions"
    predict(
        [
            *("-i", str(tiny.raw / NAME / "imagesTs"), "-o", str(output), "-d", "901", "-c", configuration, "-f", "0"),
            *("-tr", TRAINER, "-device", "cpu", "-npp", "0", "-nps", "0"),
        ]
    )
    predicted = labels_in(output / "t5.nii.gz")
    assert predicted.shape == (6, 32, 32)
    assert set(np.unique(predicted)) <= {0, 1, 2}
