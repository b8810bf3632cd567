"""`nnunet_spine train` and `predict`: nnU-Net's arguments, entry points and exit codes; our trainers, crops undone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import nnunetv2.inference.predict_from_raw_data as nnunet_predict
import nnunetv2.run.run_training as nnunet_train
import numpy as np
import pytest
import SimpleITK as sitk
import typer
from typer.testing import CliRunner

from nnunet_spine_ext.cli import predict as predict_page
from nnunet_spine_ext.cli import train as train_page
from nnunet_spine_ext.data.cropping import CROPS_FILE, Crop, write_crops
from nnunet_spine_ext.data.geometry import Grid
from nnunet_spine_ext.errors import DataError, SetupError
from nnunet_spine_ext.paths import TRAINERS_VARIABLE
from nnunet_spine_ext.training.entry import predict, train
from tests.conftest import REPOSITORY, NnunetFolders

WHOLE = Grid(
    size_xyz=(10, 6, 4),
    spacing_xyz_mm=(0.5, 0.5, 4.0),
    origin_xyz_mm=(-12.5, 3.0, 70.0),
    direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
)
CROP = Crop(source=WHOLE, start_xyz=(3, 0, 0), size_xyz=(4, 6, 4))


def page(module: object) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command("page", context_settings=module.SETTINGS)(module.command)  # type: ignore[attr-defined]
    return app


@pytest.mark.parametrize(
    "arguments",
    [
        ["501", "3d_fullres", "0", "-tr", "SpineHybridTrainer", "-p", "SpineHybridPlans", "--npz", "--c"],
        ["501", "2d", "all", "-device", "cpu", "-num_gpus", "2", "--val"],
        ["-tr=SpineHybridTrainer", "501", "2d", "0", "-pretrained_weights", "a b.pth"],
        ["-h"],
        ["--help"],
        [],
    ],
)
def test_every_argument_reaches_nnunet_as_it_stands(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(nnunet_train, "run_training_entry", lambda: seen.append(list(sys.argv)))
    before = list(sys.argv)
    result = CliRunner().invoke(page(train_page), arguments)
    assert result.exit_code == 0, result.output
    assert seen == [["nnunet_spine train", *arguments]]
    assert sys.argv == before


def test_trainers_are_findable_while_nnunet_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(nnunet_train, "run_training_entry", lambda: seen.append(os.environ[TRAINERS_VARIABLE]))
    train([])
    assert seen == [str(REPOSITORY / "trainers")]


@pytest.mark.parametrize(
    ("module", "option"), [(train_page, "-pretrained_weights"), (predict_page, "--continue_prediction")]
)
def test_help_is_that_of_nnunet_and_a_line_of_ours(module: object, option: str) -> None:
    result = CliRunner().invoke(page(module), ["-h"])
    assert result.exit_code == 0
    assert option in result.output
    assert "trainers of nnunet_spine_ext are found" in result.output
    assert f"usage: nnunet_spine {'train' if module is train_page else 'predict'}" in result.output


@pytest.mark.parametrize("module", [train_page, predict_page])
def test_wrong_usage_ends_with_two(module: object) -> None:
    assert CliRunner().invoke(page(module), ["--no-such-option"]).exit_code == 2


def test_an_unknown_trainer_is_explained(nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", "/no/such/folder")
    with pytest.raises(SetupError) as raised:
        train(["901", "3d_fullres", "0", "-tr", "SpineHybridTrainr", "-device", "cpu"])
    text = str(raised.value)
    assert "No trainer is called SpineHybridTrainr" in text
    assert "The folder /no/such/folder in nnUNet_extTrainer does not exist" in text
    assert "Did you mean SpineHybridTrainer?" in text
    ours = text.partition("Ours are ")[2].partition(";")[0].split(", ")
    assert {"SpineBaselineTrainer", "SpineHybridTrainer", "SpineUNetPPTrainer"} <= set(ours)


def test_an_unset_variable_is_named() -> None:
    with pytest.raises(SetupError, match="Not set: nnUNet_preprocessed, nnUNet_results"):
        train(["901", "3d_fullres", "0", "-tr", "SpineBaselineTrainer", "-device", "cpu"])
    with pytest.raises(SetupError, match="Not set: nnUNet_results"):
        predict(["-i", "in", "-o", "out", "-d", "901", "-c", "2d"])


def test_other_failures_of_nnunet_stay_what_they_are(
    nnunet_folders: NnunetFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(nnunet_train, "run_training_entry", fail)
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        train(["501", "2d", "0"])


# ---- predict -----------------------------------------------------------------------------------------------------


class Predicted:
    """A dataset of two cropped images, and nnU-Net's prediction of them played by a function."""

    def __init__(self, root: Path) -> None:
        self.images, self.predictions = root / "imagesTs", root / "predictions"
        self.images.mkdir()
        self.crops = root / CROPS_FILE
        random = np.random.default_rng(0)
        self.maps = {case: random.integers(0, 3, (4, 6, 4)).astype(np.uint8) for case in ("case1", "case2")}
        for case, array in self.maps.items():
            self._write(array, self.images / f"{case}_0000.nii.gz")
        write_crops(dict.fromkeys(self.maps, CROP), self.crops)
        self.written = list(self.maps)
        self.record = {"list_of_lists_or_source_folder": str(self.images), "save_probabilities": False}

    def _write(self, array: np.ndarray, path: Path) -> None:
        sitk.WriteImage(CROP.grid.place(array), str(path))

    def nnunet(self) -> None:
        self.predictions.mkdir(exist_ok=True)
        (self.predictions / "predict_from_raw_data_args.json").write_text(json.dumps(self.record))
        (self.predictions / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
        for case in self.written:
            self._write(self.maps[case], self.predictions / f"{case}.nii.gz")

    def run(self, *more: str) -> None:
        predict(["-i", str(self.images), "-o", str(self.predictions), "-p", "SpineHybridPlans", "-d", "501", *more])

    def read(self, case: str) -> sitk.Image:
        return sitk.ReadImage(str(self.predictions / f"{case}.nii.gz"))


@pytest.fixture
def predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predicted:
    made = Predicted(tmp_path)
    monkeypatch.setattr(nnunet_predict, "predict_entry_point", made.nnunet)
    return made


def test_label_maps_come_back_onto_the_whole_image(predicted: Predicted, capsys: pytest.CaptureFixture[str]) -> None:
    predicted.run()
    for case, array in predicted.maps.items():
        image = predicted.read(case)
        assert not Grid.of(image).differences(WHOLE)
        expected = np.zeros((4, 6, 10), dtype=np.uint8)
        expected[:, :, 3:7] = array
        assert np.array_equal(sitk.GetArrayFromImage(image), expected)
    assert "2 label maps" in capsys.readouterr().out


def test_a_rerun_changes_nothing(predicted: Predicted) -> None:
    predicted.run()
    first = {p.name: p.read_bytes() for p in predicted.predictions.glob("*.nii.gz")}
    # With --continue_prediction nnU-Net leaves finished maps alone: they are on the whole image already.
    predicted.written = []
    predicted.run("--continue_prediction")
    assert {p.name: p.read_bytes() for p in predicted.predictions.glob("*.nii.gz")} == first


def test_without_a_crop_the_maps_stay_as_they_are(predicted: Predicted) -> None:
    predicted.crops.unlink()
    predicted.run()
    assert predicted.read("case1").GetSize() == (4, 6, 4)


def test_probabilities_stay_cropped_with_a_warning(predicted: Predicted, capsys: pytest.CaptureFixture[str]) -> None:
    predicted.record["save_probabilities"] = True
    predicted.run("--save_probabilities")
    assert "WARNING: the .npz probabilities" in capsys.readouterr().err


def test_a_map_that_nnunet_did_not_write_is_an_error(predicted: Predicted) -> None:
    predicted.written = ["case1"]
    with pytest.raises(DataError, match=r"nnU-Net wrote no case2\.nii\.gz"):
        predicted.run()


def test_of_several_parts_only_its_own_cases_are_expected(predicted: Predicted) -> None:
    predicted.record |= {"num_parts": 2, "part_id": 1}
    predicted.written = ["case2"]
    predicted.run("-num_parts", "2", "-part_id", "1")
    assert predicted.read("case2").GetSize() == WHOLE.size_xyz


def test_an_input_folder_without_images_is_an_error(predicted: Predicted) -> None:
    for path in predicted.images.iterdir():
        path.unlink()
    with pytest.raises(SetupError, match=r"holds no image: expected files called <case>_0000\.nii\.gz"):
        predicted.run()


def test_a_shifted_map_is_never_pasted(predicted: Predicted, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted() -> None:
        predicted.nnunet()
        image = predicted.read("case1")
        image.SetOrigin((0.0, 0.0, 0.0))
        sitk.WriteImage(image, str(predicted.predictions / "case1.nii.gz"))

    monkeypatch.setattr(nnunet_predict, "predict_entry_point", shifted)
    with pytest.raises(DataError, match=r"case1\.nii\.gz"):
        predicted.run()
    # Nothing was written before everything was checked.
    assert predicted.read("case2").GetSize() == (4, 6, 4)


def test_a_plans_flag_is_not_taken_for_a_part_number(predicted: Predicted, find_trainer: Callable[[str], type]) -> None:
    # argparse would read -p as an abbreviation of -part_id.
    predicted.run("-part_id", "0")


def test_predict_hands_nnunet_our_predictor(monkeypatch: pytest.MonkeyPatch, predicted: Predicted) -> None:
    def entry_point() -> None:
        seen.append(nnUNetPredictor)  # noqa: F821  (the name that nnU-Net's own function uses)
        made()

    seen: list[type] = []
    made = predicted.nnunet
    monkeypatch.setattr(nnunet_predict, "predict_entry_point", entry_point)
    predicted.run()
    assert [predictor.__name__ for predictor in seen] == ["LeanPredictor"]
    assert nnunet_predict.nnUNetPredictor.__name__ == "nnUNetPredictor"


def test_another_release_of_nnunet_predicts_by_itself(predicted: Predicted, capsys: pytest.CaptureFixture[str]) -> None:
    # What plays nnU-Net here uses no predictor.
    predicted.run()
    assert "nnU-Net's own predictor is used, which takes more memory" in capsys.readouterr().out
