"""A perfect prediction scores 1.0 after crop, prediction and export; every wrong folder is refused in one go."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from nnunet_spine_ext.cli import app, main, pages
from nnunet_spine_ext.data.cropping import crop_background, write_crops
from nnunet_spine_ext.data.geometry import Array, read_grid, read_image, voxels, write_image
from nnunet_spine_ext.data.labels import MRSPINESEG_STRUCTURES
from nnunet_spine_ext.errors import DataError
from nnunet_spine_ext.report.submission import check_submission, write_submission
from tests.report.challenge import (
    TEST_CASES,
    WRONG_MAPS,
    change,
    reference_mask,
    shifted,
    unpacked,
    with_label_20,
    with_values,
)


def subject_score(prediction: Array, truth: Array) -> float:
    """The challenge's score of one subject, written out as its page tells it (20 classes, background left out)."""
    scores = []
    for label in range(1, 20):
        a, b = prediction == label, truth == label
        if a.any() or b.any():
            scores.append(2 * (a & b).sum() / (2 * (a & b).sum() + (a & ~b).sum() + (~a & b).sum() + 1e-10))
    return float(np.mean(scores))


def assert_perfect(archive: Path, challenge: Path, tmp_path: Path) -> None:
    results = unpacked(archive, tmp_path / "unpacked")
    assert sorted(p.name for p in results.iterdir()) == [f"seg_case{n}.nii.gz" for n in TEST_CASES]
    for number in TEST_CASES:
        image = sitk.ReadImage(str(results / f"seg_case{number}.nii.gz"))
        truth = voxels(read_image(reference_mask(challenge, number)))
        assert image.GetPixelID() == sitk.sitkUInt8
        assert np.array_equal(sitk.GetArrayFromImage(image), truth)
        assert subject_score(sitk.GetArrayFromImage(image), truth) == pytest.approx(1.0, abs=1e-9)
        source = read_grid(challenge / "test1/MR" / f"Case{number}.nii.gz")
        assert image.GetSize() == source.size_xyz
        assert image.GetSpacing() == source.spacing_xyz_mm
        assert image.GetOrigin() == source.origin_xyz_mm
        # The file keeps the direction as float32 numbers.
        assert np.allclose(image.GetDirection(), source.direction, rtol=0, atol=1e-7)


# --- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["test1", "test1/MR"])
def test_maps_of_whole_images_are_taken_as_they_are(
    named: str, challenge: Path, predictions: Path, tmp_path: Path
) -> None:
    output = write_submission(predictions, challenge / named, tmp_path / "team.zip")
    assert output == tmp_path / "team.zip"
    assert_perfect(output, challenge, tmp_path)


def test_maps_of_cropped_images_are_put_back_by_geometry(challenge: Path, predictions: Path, tmp_path: Path) -> None:
    for number in TEST_CASES:
        crop = crop_background(read_image(challenge / "test1/MR" / f"Case{number}.nii.gz"))
        assert crop.size_xyz[0] < 64
        file = predictions / f"Case{number:03d}.nii.gz"
        write_image(crop.apply(read_image(file)), file)
    assert_perfect(write_submission(predictions, challenge / "test1", tmp_path / "team.zip"), challenge, tmp_path)


@pytest.mark.parametrize("named", [".", "imagesTs"])
def test_maps_of_a_cropped_dataset_are_put_back_by_its_crops_file(
    named: str, challenge: Path, predictions: Path, tmp_path: Path
) -> None:
    dataset = tmp_path / "Dataset501_MRSpineSeg"
    (dataset / "imagesTs").mkdir(parents=True)
    crops = {}
    for number in TEST_CASES:
        image = read_image(challenge / "test1/MR" / f"Case{number}.nii.gz")
        crop = crops[f"Case{number:03d}"] = crop_background(image)
        write_image(crop.apply(image), dataset / "imagesTs" / f"Case{number:03d}_0000.nii.gz")
        file = predictions / f"Case{number:03d}.nii.gz"
        # One of them was restored before, as `nnunet_spine predict` does it.
        if number != 3:
            write_image(crop.apply(read_image(file)), file)
    write_crops(crops, dataset / "crops.json")
    archive = write_submission(predictions, dataset / named, tmp_path / "team.zip")
    assert_perfect(archive, challenge, tmp_path)
    assert check_submission(archive, dataset / named) == []


def test_the_same_predictions_give_the_same_bytes(challenge: Path, predictions: Path, tmp_path: Path) -> None:
    archives = [write_submission(predictions, challenge / "test1", tmp_path / f"{i}.zip") for i in range(2)]
    assert archives[0].read_bytes() == archives[1].read_bytes()


# --- predictions that are refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "message"), WRONG_MAPS.values(), ids=WRONG_MAPS.keys())
def test_a_wrong_prediction_is_refused_and_nothing_written(
    how: Callable[[sitk.Image], sitk.Image], message: str, challenge: Path, predictions: Path, tmp_path: Path
) -> None:
    change(predictions / "Case003.nii.gz", how)
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(DataError, match=rf"1 finding(.|\n)*Case003\.nii\.gz.*{message}"):
        write_submission(predictions, challenge / "test1", tmp_path / "team.zip")
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_renamed_prediction_is_refused(challenge: Path, predictions: Path, tmp_path: Path) -> None:
    (predictions / "Case001.nii.gz").rename(predictions / "Case002.nii.gz")
    with pytest.raises(DataError) as caught:
        write_submission(predictions, challenge / "test1", tmp_path / "team.zip")
    assert [(f.file.name, f.finding.split(" in ")[0]) for f in caught.value.findings] == [
        ("Case1.nii.gz", "has no prediction"),
        ("Case002.nii.gz", "answers no image of the test set"),
    ]


def test_two_predictions_with_swapped_names_are_refused(challenge: Path, predictions: Path, tmp_path: Path) -> None:
    (predictions / "Case001.nii.gz").rename(predictions / "x")
    (predictions / "Case003.nii.gz").rename(predictions / "Case001.nii.gz")
    (predictions / "x").rename(predictions / "Case003.nii.gz")
    with pytest.raises(DataError) as caught:
        write_submission(predictions, challenge / "test1", tmp_path / "team.zip")
    assert [f.file.name for f in caught.value.findings] == ["Case001.nii.gz", "Case003.nii.gz"]


def test_every_finding_is_told_at_once(challenge: Path, predictions: Path, tmp_path: Path) -> None:
    change(predictions / "Case001.nii.gz", shifted)
    change(predictions / "Case003.nii.gz", with_values(with_label_20))
    (predictions / "Case004.nii.gz").unlink()
    shutil.copy(predictions / "Case001.nii.gz", predictions / "Case1.nii.gz")
    shutil.copy(predictions / "Case001.nii.gz", predictions / "Case007.nii.gz")
    (predictions / "notes.nii.gz").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        write_submission(predictions, challenge / "test1", tmp_path / "team.zip")
    found = {f.file.name: f.finding for f in caught.value.findings}
    assert len(caught.value.findings) == 6
    assert "does not lie on" in found["Case001.nii.gz"]
    assert "ids [20]" in found["Case003.nii.gz"]
    assert "no prediction" in found["Case4.nii.gz"]
    assert "also Case001.nii.gz" in found["Case1.nii.gz"]
    assert "answers no image" in found["Case007.nii.gz"]
    assert "answers no image" in found["notes.nii.gz"]


def test_a_damaged_prediction_is_refused(challenge: Path, predictions: Path, tmp_path: Path) -> None:
    file = predictions / "Case003.nii.gz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"Case003\.nii\.gz"):
        write_submission(predictions, challenge / "test1", tmp_path / "team.zip")


ALL_LABELS = {"background": 0, **{name: i for i, name in enumerate(MRSPINESEG_STRUCTURES, start=1)}}
REFUSED_LABELS = {
    "binary": {"background": 0, "spine": 1},
    "renumbered": {"background": 0, "L5": 1, "S": 2},
    "regions": {"background": 0, "S": [1, 2]},
    "not of nnU-Net": None,
}


@pytest.mark.parametrize("labels", REFUSED_LABELS.values(), ids=REFUSED_LABELS.keys())
def test_a_model_of_other_labels_is_refused(
    labels: dict[str, object] | None, challenge: Path, predictions: Path, tmp_path: Path
) -> None:
    (predictions / "dataset.json").write_text(json.dumps({"labels": labels}))
    with pytest.raises(DataError, match=r"dataset\.json.*--labels all"):
        write_submission(predictions, challenge / "test1", tmp_path / "team.zip")


@pytest.mark.parametrize("highest", [8, 10, 19], ids=["paper004", "vertebrae", "all"])
def test_a_model_of_some_of_the_challenges_labels_is_taken(
    highest: int, challenge: Path, predictions: Path, tmp_path: Path
) -> None:
    labels = {name: i for name, i in ALL_LABELS.items() if i <= highest}
    (predictions / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert write_submission(predictions, challenge / "test1", tmp_path / "team.zip").is_file()


def test_a_folder_without_test_images_is_named(predictions: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"nothing.*no test image"):
        write_submission(predictions, tmp_path / "nothing", tmp_path / "team.zip")


def test_an_output_that_is_no_zip_is_refused(challenge: Path, predictions: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not end in \.zip"):
        write_submission(predictions, challenge / "test1", tmp_path / "team.tar")


def test_a_refused_submission_leaves_the_old_zip(challenge: Path, predictions: Path, tmp_path: Path) -> None:
    (tmp_path / "team.zip").write_text("of yesterday")
    (predictions / "Case001.nii.gz").unlink()
    with pytest.raises(DataError):
        write_submission(predictions, challenge / "test1", tmp_path / "team.zip")
    assert (tmp_path / "team.zip").read_text() == "of yesterday"


# --- the command ----------------------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command as the console script does and return its exit code."""
    monkeypatch.setattr("sys.argv", ["nnunet_spine", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_the_command_writes_and_checks(
    challenge: Path,
    predictions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    team = tmp_path / "team.zip"
    assert run(monkeypatch, "submit", "-i", predictions, "-r", challenge / "test1", "-o", team) == 0
    assert capsys.readouterr().out == f"{team}: written and checked\n"
    assert run(monkeypatch, "submit", "--check", team, "--reference", challenge / "test1") == 0
    assert capsys.readouterr().out == f"{team}: nothing wrong\n"


def test_the_command_ends_with_one_and_all_findings(
    archive: Path, challenge: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 3):
        (challenge / "test1/MR" / f"Case{number}.nii.gz").unlink()
    assert run(monkeypatch, "submit", "--check", archive, "-r", challenge / "test1") == 1
    error = capsys.readouterr().err
    assert "2 findings" in error
    assert error.count("answers no image of the test set") == 2


@pytest.mark.parametrize("arguments", [[], ["-i", "x"], ["--check", "a.zip", "-o", "b.zip"]])
def test_wrong_usage_ends_with_two(arguments: list[str]) -> None:
    pages.register(app)
    assert CliRunner().invoke(app, ["submit", *arguments]).exit_code == 2
