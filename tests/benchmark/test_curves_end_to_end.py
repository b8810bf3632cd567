"""Curves of a tiny network that nnU-Net really trained and really predicts. Minutes of CPU: run with -m slow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_spine_ext.benchmark.curves.low_budget import run_low_budget
from nnunet_spine_ext.benchmark.curves.predicting import PredictionOptions
from nnunet_spine_ext.benchmark.curves.robustness import run_robustness
from nnunet_spine_ext.benchmark.models import Model
from nnunet_spine_ext.errors import SpineExtError
from tests.benchmark.curves import rows
from tests.conftest import NnunetFolders
from tests.training.tiny import NAME

pytestmark = pytest.mark.slow

MODEL = Model(
    trainer="SpineBaselineTrainer_2epochs_2iterations", plans="nnUNetPlans", configuration="3d_fullres", title="stock"
)
ON_CPU = PredictionOptions(device="cpu", workers=0, mirroring=False)


@pytest.fixture
def trained(tiny: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the fold, with a checkpoint kept after the first of two epochs."""
    monkeypatch.setenv("NNUNET_SPINE_KEEP_EPOCHS", "1")
    command = ("train", "901", "3d_fullres", "0", "-tr", MODEL.trainer, "-device", "cpu")
    subprocess.run([sys.executable, "-m", "nnunet_spine_ext", *command], check=True, timeout=600)
    return tiny.results / NAME / MODEL.folder_name / "fold_0"


def test_curves_of_a_trained_network(trained: Path, tmp_path: Path) -> None:
    comparison = tmp_path / "comparison"
    table = run_robustness(
        [MODEL], 901, comparison, strengths={"noise": [50], "motion": [4]}, folds=[0], processes=1, options=ON_CPU
    )
    found = rows(table)
    assert {r["case"] for r in found} == {"t4"}
    points = list(dict.fromkeys((r["perturbation"], r["strength"]) for r in found))
    assert points == [("noise", "0.0"), ("noise", "50.0"), ("motion", "0.0"), ("motion", "4.0")]
    table = run_low_budget([MODEL], 901, comparison, folds=[0], processes=1, options=ON_CPU)
    found = rows(table)
    assert list(dict.fromkeys(r["epoch"] for r in found if r["metric"] == "dice")) == ["1", "2"]
    assert [r["epoch"] for r in found if r["metric"] == "pseudo_dice"] == ["1", "2"]
    # The last point is the final network on the image as it is: the same prediction as the robustness curve's first.
    last = [(r["case"], r["label"], r["value"]) for r in found if (r["epoch"], r["metric"]) == ("2", "dice")]
    first = [
        (r["case"], r["label"], r["value"])
        for r in rows(comparison / "robustness.csv")
        if (r["perturbation"], r["strength"], r["metric"]) == ("noise", "0.0", "dice")
    ]
    assert last == first
    assert not list(comparison.rglob(".scratch*"))


def test_nnunets_words_reach_the_user(trained: Path, tmp_path: Path) -> None:
    (trained / "checkpoint_final.pth").write_bytes(b"no network")
    with pytest.raises(SpineExtError, match=r"stock: the prediction ended with exit code 1"):
        run_robustness([MODEL], 901, tmp_path / "comparison", strengths={}, folds=[0], processes=1, options=ON_CPU)
