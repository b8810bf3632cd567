"""Predictions measured by dataset id: references and cases that must be there are found, and so by the command."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from nnunet_spine_ext.errors import DataError, SetupError
from nnunet_spine_ext.evaluation.dataset import evaluate_dataset, model_name
from nnunet_spine_ext.evaluation.sources import read_sources
from tests.conftest import NnunetFolders
from tests.dataset_conversion.published import nnunet_spine
from tests.evaluation.fake import columns, random_labels, read_rows, write_array, write_dataset


@pytest.fixture
def dataset(nnunet_folders: NnunetFolders) -> Path:
    folder = write_dataset(nnunet_folders.raw, description="made up", spine={"source": "fake", "ordered_labels": True})
    for name, cases in (("Tr", ("a", "b", "c")), ("Ts", ("x", "y"))):
        (folder / f"images{name}").mkdir()
        for i, case in enumerate(cases):
            write_array(folder / f"labels{name}" / f"{case}.nii.gz", random_labels(i))
    return folder


def predict(dataset: Path, folder: Path, cases: str, kind: str = "labelsTr") -> Path:
    folder.mkdir(parents=True)
    for case in cases:
        shutil.copy(dataset / kind / f"{case}.nii.gz", folder)
    return folder


def evaluated_cases(metrics: Path) -> str:
    return "".join(sorted({case for case, _, _ in read_rows(metrics)}))


def test_references_are_found_by_the_names_of_the_predictions(dataset: Path, tmp_path: Path) -> None:
    test = predict(dataset, tmp_path / "MyNet", "xy", kind="labelsTs")
    metrics = evaluate_dataset(501, test, output=tmp_path / "m.csv", processes=1)
    sources = read_sources(metrics)
    assert sources is not None
    assert (sources.dataset, sources.model) == ("Dataset501_Fake", "MyNet")
    assert sources.references == dataset / "labelsTs"
    assert sources.images == dataset / "imagesTs"
    assert sources.notes["description"] == "made up"
    assert sources.notes["source"] == "fake"


def test_missing_test_case_is_a_finding_unless_a_subset_is_asked_for(dataset: Path, tmp_path: Path) -> None:
    test = predict(dataset, tmp_path / "net", "x", kind="labelsTs")
    with pytest.raises(DataError, match="no prediction of this case"):
        evaluate_dataset(501, test, output=tmp_path / "m.csv", processes=1)
    assert evaluated_cases(evaluate_dataset(501, test, output=tmp_path / "m.csv", processes=1, subset=True)) == "x"


def test_some_training_cases_may_be_predicted(dataset: Path, tmp_path: Path) -> None:
    some = predict(dataset, tmp_path / "net", "ac")
    assert evaluated_cases(evaluate_dataset(501, some, output=tmp_path / "m.csv", processes=1)) == "ac"


def test_validation_folder_must_hold_the_cases_of_its_fold(
    dataset: Path, tmp_path: Path, nnunet_folders: NnunetFolders
) -> None:
    results = nnunet_folders.results / "Dataset501_Fake" / "SomeTrainer__nnUNetPlans__3d_fullres"
    validation = predict(dataset, results / "fold_1" / "validation", "b")
    for other in ("summary.json", "b.npz", "b.pkl"):
        (validation / other).write_text("{}")
    (dataset / "splits_final.json").write_text(json.dumps([{"train": ["b"], "val": ["a", "c"]}] * 2))
    preprocessed = nnunet_folders.preprocessed / "Dataset501_Fake"
    preprocessed.mkdir()
    folds = [{"train": ["b"], "val": ["a", "c"]}, {"train": ["a", "c"], "val": ["b"]}]
    (preprocessed / "splits_final.json").write_text(json.dumps(folds))
    metrics = evaluate_dataset(501, validation, output=tmp_path / "m.csv", processes=1)
    assert evaluated_cases(metrics) == "b"
    sources = read_sources(metrics)
    assert sources is not None
    assert sources.model == "SomeTrainer__nnUNetPlans__3d_fullres"

    incomplete = predict(dataset, results / "fold_0" / "validation", "a")
    with pytest.raises(DataError) as caught:
        evaluate_dataset(501, incomplete, output=tmp_path / "n.csv", processes=1)
    assert [f.file.name for f in caught.value.findings] == ["c.nii.gz"]
    everything = predict(dataset, results / "fold_all" / "validation", "ab")
    with pytest.raises(DataError, match=r"c\.nii\.gz"):
        evaluate_dataset(501, everything, output=tmp_path / "n.csv", processes=1)


def test_wrong_dataset_is_said_with_both_folders(dataset: Path, tmp_path: Path) -> None:
    strangers = tmp_path / "net"
    write_array(strangers / "q.nii.gz", random_labels(0))
    with pytest.raises(DataError, match="-r"):
        evaluate_dataset(501, strangers, output=tmp_path / "m.csv")
    with pytest.raises(SetupError, match="Dataset502"):
        evaluate_dataset(502, strangers, output=tmp_path / "m.csv")


@pytest.mark.parametrize("text", ["{", "[]", '{"labels": 3}'])
def test_damaged_dataset_json_is_a_finding(dataset: Path, tmp_path: Path, text: str) -> None:
    (dataset / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json"):
        evaluate_dataset(501, dataset / "labelsTr", output=tmp_path / "m.csv")


def test_command_hands_every_option_on(dataset: Path, tmp_path: Path) -> None:
    test = predict(dataset, tmp_path / "net", "xy", kind="labelsTs")
    table = tmp_path / "m.csv"
    common = ("evaluate", "-d", 501, "-i", test, "-o", table, "-np", 1)
    ended = nnunet_spine(*common, "--tolerance", 0.5, "-f", 2, "--seed", 9)
    assert ended.code == 0, ended.error
    assert columns(table, "model", "fold", "seed") == {("net", "2", "9")}
    assert read_rows(table)["x", "L5", "nsd_surfel_0.5mm"] == 1
    assert nnunet_spine(*common, "--no-distances").code == 0
    assert not [metric for _, _, metric in read_rows(table) if metric.startswith(("nsd", "hd95", "assd"))]
    refused = nnunet_spine(*common, "--tolerance", 0)
    assert refused.code != 0
    assert "length above 0" in refused.error


def test_model_is_named_after_its_results_folder() -> None:
    results = Path("/r/Dataset501_Fake/T__P__2d")
    assert model_name(results / "fold_0" / "validation") == "T__P__2d"
    assert model_name(results / "crossval_results_folds_0_1" / "postprocessed") == "T__P__2d"
    assert model_name(Path("/predictions/mine")) == "mine"


def test_environment_variable_for_preprocessed_data_is_not_needed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("nnUNet_preprocessed")
    validation = predict(dataset, tmp_path / "T__P__2d" / "fold_0" / "validation", "a")
    assert "nnUNet_preprocessed" not in os.environ
    assert evaluated_cases(evaluate_dataset(501, validation, output=tmp_path / "m.csv", processes=1)) == "a"
