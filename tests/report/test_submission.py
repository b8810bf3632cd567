"""A perfect prediction scores 1.0 after crop, prediction and export; every wrong folder or zip is refused in one go."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from nnunet_spine_ext.cli import app, main, pages
from nnunet_spine_ext.data.cropping import crop_background, write_crops
from nnunet_spine_ext.data.geometry import Array, Grid, read_grid, read_image, voxels, write_image
from nnunet_spine_ext.data.labels import MRSPINESEG_STRUCTURES
from nnunet_spine_ext.data.phantom import write_phantom
from nnunet_spine_ext.errors import DataError
from nnunet_spine_ext.report.submission import check_submission, write_submission

TEST_CASES = (1, 3, 4)


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


def reference_mask(challenge: Path, number: int) -> Path:
    return challenge / "test1_reference" / f"mask_case{number}.nii.gz"


def as_uint8(image: sitk.Image) -> sitk.Image:
    return Grid.of(image).place(voxels(image).astype(np.uint8))


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder / "segmentation_results"


def packed(folder: Path, archive: Path, *, inside: str = "segmentation_results") -> Path:
    with zipfile.ZipFile(archive, "w") as opened:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            opened.write(file, f"{inside}/{file.relative_to(folder)}" if inside else file.name)
    return archive


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


def change(file: Path, how: Callable[[sitk.Image], sitk.Image]) -> None:
    write_image(how(read_image(file)), file)


def shifted(image: sitk.Image) -> sitk.Image:
    image.SetOrigin([x + 3 for x in image.GetOrigin()])
    return image


def resampled(image: sitk.Image) -> sitk.Image:
    return sitk.Resample(
        image, [n // 2 for n in image.GetSize()], sitk.Transform(), sitk.sitkNearestNeighbor,
        image.GetOrigin(), [2 * s for s in image.GetSpacing()], image.GetDirection(),
    )  # fmt: skip


def with_values(change_array: Callable[[Array], Array]) -> Callable[[sitk.Image], sitk.Image]:
    return lambda image: Grid.of(image).place(change_array(voxels(image)))


def with_label_20(array: Array) -> Array:
    array[0, 0, 0] = 20
    return array


WRONG_MAPS: dict[str, tuple[Callable[[sitk.Image], sitk.Image], str]] = {
    "shifted": (shifted, "does not lie on"),
    "resampled": (resampled, "does not lie on"),
    "label 20": (with_values(with_label_20), r"ids \[20\]"),
    "float": (with_values(lambda a: a.astype(np.float32)), "float32"),
    "empty": (with_values(np.zeros_like), "empty"),
}


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


# --- zips that are refused ------------------------------------------------------------------------------------------


def test_a_good_zip_has_no_findings(archive: Path, challenge: Path) -> None:
    assert check_submission(archive) == []
    assert check_submission(archive, challenge / "test1") == []


def findings_of(archive: Path, challenge: Path) -> dict[str, str]:
    return {str(f.file.relative_to(archive)): f.finding for f in check_submission(archive, challenge / "test1")}


WRONG_MEMBERS = WRONG_MAPS | {
    "uint16": (with_values(lambda a: a.astype(np.uint16)), "16-bit unsigned"),
    "flat": (lambda image: image[:, :, 3], "2D"),
}


@pytest.mark.parametrize(("how", "message"), WRONG_MEMBERS.values(), ids=WRONG_MEMBERS.keys())
def test_a_wrong_map_in_a_zip_is_found(
    how: Callable[[sitk.Image], sitk.Image], message: str, archive: Path, challenge: Path, tmp_path: Path
) -> None:
    results = unpacked(archive, tmp_path / "unpacked")
    file = results / "seg_case3.nii.gz"
    sitk.WriteImage(how(read_image(file)), str(file))
    found = findings_of(packed(results, tmp_path / "bad.zip"), challenge)
    assert list(found) == ["segmentation_results/seg_case3.nii.gz"]
    assert re.search(message.replace("lie on", "lie on its image"), found["segmentation_results/seg_case3.nii.gz"])


def test_missing_extra_and_misnamed_files_are_found_together(archive: Path, challenge: Path, tmp_path: Path) -> None:
    results = unpacked(archive, tmp_path / "unpacked")
    (results / "seg_case1.nii.gz").rename(results / "seg_Case1.nii.gz")
    shutil.copy(results / "seg_case3.nii.gz", results / "seg_case2.nii.gz")
    shutil.copy(results / "seg_case3.nii.gz", results / "seg_case03.nii.gz")
    (results / ".DS_Store").write_bytes(b"")
    (results / "readme.txt").write_text("")
    found = findings_of(packed(results, tmp_path / "bad.zip"), challenge)
    assert {name.split("/")[1]: finding for name, finding in found.items()} == {
        "seg_Case1.nii.gz": "has the wrong name",
        "seg_case1.nii.gz": "is missing",
        "seg_case2.nii.gz": "answers no image of the test set",
        "seg_case03.nii.gz": "has the wrong name",
        ".DS_Store": "is a hidden file",
        "readme.txt": "has the wrong name",
    }


def test_a_renamed_case_is_found(archive: Path, challenge: Path, tmp_path: Path) -> None:
    results = unpacked(archive, tmp_path / "unpacked")
    (results / "seg_case1.nii.gz").rename(results / "x")
    (results / "seg_case3.nii.gz").rename(results / "seg_case1.nii.gz")
    (results / "x").rename(results / "seg_case3.nii.gz")
    found = findings_of(packed(results, tmp_path / "bad.zip"), challenge)
    assert [f.split(" (")[0] for f in found.values()] == ["does not lie on its image"] * 2


@pytest.mark.parametrize("inside", ["", "results", "team/segmentation_results"])
def test_a_wrong_folder_is_found(inside: str, archive: Path, challenge: Path, tmp_path: Path) -> None:
    results = unpacked(archive, tmp_path / "unpacked")
    found = findings_of(packed(results, tmp_path / "bad.zip", inside=inside), challenge)
    assert len([f for f in found.values() if f.startswith("lies in the folder")]) == 3
    assert len([f for f in found.values() if f == "is missing"]) == 3


def test_the_leavings_of_a_mac_are_found(archive: Path, challenge: Path) -> None:
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("__MACOSX/segmentation_results/._seg_case1.nii.gz", b"")
    assert list(findings_of(archive, challenge).values()) == ["is a hidden file"]


def test_a_case_that_is_in_the_zip_twice_is_found(archive: Path, challenge: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        content = opened.read("segmentation_results/seg_case3.nii.gz")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("segmentation_results/seg_case3.nii.gz", content)
    assert findings_of(archive, challenge) == {"segmentation_results/seg_case3.nii.gz": "is in the zip 2 times"}


@pytest.mark.parametrize("content", [b"", b"no zip at all"])
def test_a_file_that_is_no_zip_is_one_finding(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "team.zip").write_bytes(content)
    assert [f.finding.split(" (")[0] for f in check_submission(tmp_path / "team.zip")] == ["is not a readable zip"]


def test_an_absent_zip_is_one_finding(tmp_path: Path) -> None:
    assert "No such file" in check_submission(tmp_path / "team.zip")[0].finding


def test_a_zip_without_results_is_found_without_a_reference_too(tmp_path: Path) -> None:
    zipfile.ZipFile(tmp_path / "team.zip", "w").close()
    assert [f.finding for f in check_submission(tmp_path / "team.zip")] == ["holds no result"]


def test_a_damaged_member_is_found(archive: Path, challenge: Path, tmp_path: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(bytes(content))
    found = findings_of(tmp_path / "bad.zip", challenge)
    assert len(found) == 1
    assert "cannot be taken out of the zip" in next(iter(found.values()))


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
