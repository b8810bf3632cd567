"""`nnunet_spine convert`: options, dry run, list, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataset_conversion import DATASETS, convert
from nnunet_spine_ext.errors import DataError, SpineExtError
from tests.conftest import NnunetFolders
from tests.data import chu, mrspineseg
from tests.dataset_conversion.published import challenge, files_below, nnunet_spine


def test_result_lies_in_nnunet_raw_and_the_next_command_is_named(tmp_path: Path, nnunet_folders: NnunetFolders) -> None:
    published = challenge(tmp_path / "download")
    ended = nnunet_spine("convert", "mrspineseg", published.source, "-d", 7, "-np", 1, "--labels", "vertebrae")
    assert ended.code == 0
    folder = nnunet_folders.raw / "Dataset007_MRSpineSeg"
    assert f"{folder} is ready" in ended.out
    assert "nnUNetv2_plan_and_preprocess -d 7 --verify_dataset_integrity" in ended.out
    assert json.loads((folder / "dataset.json").read_text())["spine"]["scheme"] == "vertebrae"


def test_hold_out_takes_numbers_in_any_spelling(tmp_path: Path) -> None:
    chu.write(tmp_path / "download", [2, 4, 9, 10])
    ended = nnunet_spine(
        "convert", "chu", tmp_path / "download", "-d", 1, "-o", tmp_path, "-np", 1, "--hold-out", "9, 10,Img_02"
    )
    assert ended.code == 0
    held = sorted(p.name for p in (tmp_path / "Dataset001_ChuLowerSpine/labelsTs").iterdir())
    assert held == ["Img_02.nii.gz", "Img_09.nii.gz", "Img_10.nii.gz"]
    # One training case is left: no folds can be made of it.
    assert not (tmp_path / "Dataset001_ChuLowerSpine/splits_final.json").exists()


@pytest.mark.parametrize(
    ("numbers", "finding"),
    [
        ("11", "the case 11 to hold out does not exist"),
        ("96", "the case 96 to hold out is in the test set already"),
        ("2,5,7", "no case is left to train on"),
    ],
)
def test_hold_out_that_cannot_be(numbers: str, finding: str, tmp_path: Path) -> None:
    published = challenge(tmp_path / "download")
    ended = nnunet_spine(
        "convert", "mrspineseg", published.source, "-d", 1, "-o", tmp_path / "raw", "-np", 1, "--hold-out", numbers
    )
    assert ended.code == 1
    assert finding in ended.error
    assert not (tmp_path / "raw").exists()


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    published = challenge(tmp_path / "download")
    before = files_below(tmp_path)
    ended = nnunet_spine(
        "convert", "mrspineseg", published.source, "-d", 9, "-o", tmp_path / "raw", "-np", 1, "--dry-run", "--crop"
    )
    assert ended.code == 0
    assert f"would be written to {tmp_path / 'raw' / 'Dataset009_MRSpineSeg'}" in ended.out
    assert "3 training and 2 test cases: {'test1': 1, 'test2': 1, 'train': 3}" in ended.out
    assert "validation cases per fold: 1, 1, 1" in ended.out
    assert "Case096: image and label: cropped to (" in ended.out
    assert files_below(tmp_path) == before
    assert not (tmp_path / "raw").exists()


def test_dry_run_finds_what_a_run_would_find(tmp_path: Path) -> None:
    published = challenge(tmp_path / "download")
    published.label(5).unlink()
    ended = nnunet_spine("convert", "mrspineseg", published.source, "-d", 9, "-o", tmp_path, "-np", 1, "--dry-run")
    assert ended.code == 1
    assert "has no mask" in ended.error


def test_list_names_licence_and_where_to_ask() -> None:
    ended = nnunet_spine("convert", "--list")
    assert ended.code == 0
    for dataset in DATASETS.values():
        for fact in (dataset.name, dataset.title, dataset.licence, dataset.citation, dataset.where):
            assert fact in ended.out
        for scheme in dataset.scheme_names:
            assert scheme in ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "is none of mrspineseg, chu"),
        (("heart", "."), "'heart' is none of mrspineseg, chu"),
        (("chu",), "which folder?"),
        (("chu", "."), "which number"),
        (("chu", ".", "-d", "1000"), "Invalid value for '-d'"),
        (("chu", ".", "-d", "1", "-np", "0"), "Invalid value for '-np'"),
        (("chu", ".", "-d", "1", "--labels", "all"), "'all' is none of binary"),
        (("chu", ".", "-d", "1", "--crop"), "not offered for chu"),
        (("chu", ".", "-d", "1", "--no-such-option"), "No such option"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    ended = nnunet_spine("convert", *arguments)
    assert ended.code == 2
    assert message in " ".join(ended.error.replace("│", " ").split())


def test_python_callers_get_the_same_refusals(tmp_path: Path) -> None:
    with pytest.raises(SpineExtError, match=r"No dataset 'heart'\. There are: mrspineseg, chu"):
        convert("heart", tmp_path, dataset_id=1)
    with pytest.raises(SpineExtError, match=r"1\.\.999, got 0"):
        convert("chu", tmp_path, dataset_id=0)
    with pytest.raises(SpineExtError, match="At least 1 process"):
        convert("chu", tmp_path, dataset_id=1, processes=0)
    with pytest.raises(SpineExtError, match="--crop is not offered"):
        convert("chu", tmp_path, dataset_id=1, crop=True)
    chu.write(tmp_path / "chu", [1, 2])
    with pytest.raises(SpineExtError, match=r"No label scheme 'all' for chu\. There are: binary"):
        convert("chu", tmp_path / "chu", dataset_id=1, labels="all")


def test_a_scheme_that_the_release_cannot_give_is_refused(tmp_path: Path) -> None:
    mrspineseg.write_sibling(tmp_path, [1, 2])
    with pytest.raises(
        DataError, match=r"whose labels do not allow the scheme 'vertebrae'\. Possible here: --labels binary"
    ):
        convert("mrspineseg", tmp_path, dataset_id=1, labels="vertebrae", target_root=tmp_path / "raw")


def test_facts_of_every_dataset_are_complete() -> None:
    for name, dataset in DATASETS.items():
        assert dataset.name == name
        assert all((dataset.title, dataset.licence, dataset.citation, dataset.channels, dataset.layouts))
        assert dataset.where.startswith("https://")
        assert dataset.cranio_caudal_axis_zyx in ((None,) if name == "lung2d" else (0, 1, 2))  # axial slices


def test_one_case_of_two_of_a_patient_cannot_be_held_out(tmp_path: Path) -> None:
    from dataclasses import replace

    from dataset_conversion import chu as converter
    from dataset_conversion.frame import Release
    from dataset_conversion.hold_out import held_out

    chu.write(tmp_path, [1, 2, 3])
    release: Release = converter.find(tmp_path)
    patients = {"Img_01": "A", "Img_02": "A", "Img_03": "B"}
    same_patient = replace(release, cases=tuple(replace(c, patient=patients[c.case]) for c in release.cases))
    _, findings = held_out(same_patient.cases, tmp_path, ["1"])
    assert [f.file.name for f in findings] == ["Img_01.nii"]
    assert "other images of the same patient" in findings[0].finding
    assert held_out(same_patient.cases, tmp_path, ["1", "2"])[1] == []


@pytest.mark.parametrize("missing", ["nnunet_spine_ext.dataset_conversion", "numpy"])
def test_converters_are_found_in_a_bare_checkout_but_a_missing_dependency_is_not_hidden(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnunet_spine_ext.cli import convert as page

    imported = page.import_module

    def fake(name: str) -> object:
        if name == "nnunet_spine_ext.dataset_conversion":
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return imported(name)

    monkeypatch.setattr(page, "import_module", fake)
    if missing == "numpy":
        with pytest.raises(ModuleNotFoundError, match="numpy"):
            page.find_converters()
    else:
        assert page.find_converters().__name__ == "dataset_conversion"
