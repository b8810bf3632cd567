"""A folder of predictions becomes a tidy table: matching, findings, resuming, what stands beside it."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nnunet_spine_ext.data.geometry import Grid, read_image, write_image
from nnunet_spine_ext.errors import DataError, SpineExtError
from nnunet_spine_ext.evaluation import cases as cases_module
from nnunet_spine_ext.evaluation.cases import COLUMNS, evaluate_folder
from nnunet_spine_ext.evaluation.confusion import CONFUSION_COLUMNS, confusion_path
from nnunet_spine_ext.evaluation.metrics import FIXED_DISTANCE_METRICS, METRICS, nsd_metrics
from nnunet_spine_ext.evaluation.sources import read_sources, sources_path
from nnunet_spine_ext.evaluation.structures import ALL_STRUCTURES, UNION
from tests.evaluation.fake import LABELS, columns, random_labels, read_rows, write_array, write_folders


def evaluate(root: Path, output: Path, *, processes: int = 1, **more: object) -> Path:
    return evaluate_folder(
        root / "predictions",
        root / "labelsTs",
        labels=LABELS,
        model="net",
        output=output,
        processes=processes,
        **more,  # type: ignore[arg-type]
    )


def test_one_row_per_case_label_and_metric(tmp_path: Path) -> None:
    write_folders(tmp_path)
    metrics = evaluate(tmp_path, tmp_path / "new" / "metrics.csv", dataset="Dataset501_Fake")
    with metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {(r["dataset"], r["model"]) for r in rows} == {("Dataset501_Fake", "net")}
    keys = [(r["case"], r["label"], r["metric"]) for r in rows]
    # Overlap of three structures and their union, distances of the three, levels of the two vertebrae, and of the case.
    assert len(keys) == len(set(keys)) == 3 * (4 * 12 + 3 * 6 + 2 * 2 + 1 + 3)
    assert {metric for _, _, metric in keys} <= set(METRICS)
    assert [label for case, label, metric in keys if (case, metric) == ("case0", "dice")] == ["S", "L5", "L5/S", UNION]
    assert ("case2", ALL_STRUCTURES, "challenge_dice") in keys
    reference, prediction = random_labels(1) == 2, random_labels(101) == 2
    dice = 2 * (reference & prediction).sum() / (reference.sum() + prediction.sum())
    assert read_rows(metrics)["case1", "L5", "dice"] == dice
    volume_ml = (int(prediction.sum()) - int(reference.sum())) * 1 * 2 * 3 / 1000
    assert read_rows(metrics)["case1", "L5", "volume_difference_ml"] == pytest.approx(volume_ml)


def test_fold_and_seed_stand_in_every_row_of_both_tables_and_in_the_note(tmp_path: Path) -> None:
    write_folders(tmp_path, cases=2)
    metrics = evaluate(tmp_path, tmp_path / "m.csv", fold="3", seed="7")
    for table in (metrics, confusion_path(metrics)):
        assert columns(table, "model", "fold", "seed") == {("net", "3", "7")}
    sources = read_sources(metrics)
    assert sources is not None
    assert (sources.fold, sources.seed) == ("3", "7")


@pytest.mark.parametrize(("parent", "fold"), [("fold_2", "2"), ("fold_all", "all"), ("elsewhere", "")])
def test_fold_is_found_from_a_validation_folder(tmp_path: Path, parent: str, fold: str) -> None:
    predictions, references = write_folders(tmp_path, cases=1)
    validation = tmp_path / "T__P__C" / parent / "validation"
    validation.parent.mkdir(parents=True)
    predictions.rename(validation)
    metrics = evaluate_folder(validation, references, labels=LABELS, model="net", output=tmp_path / "m.csv")
    assert columns(metrics, "fold", "seed") == {(fold, "")}


def test_confusions_are_the_counts_of_voxels_by_name(tmp_path: Path) -> None:
    write_folders(tmp_path)
    metrics = evaluate(tmp_path, tmp_path / "m.csv", dataset="D")
    with confusion_path(metrics).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CONFUSION_COLUMNS
    names = {"background": 0, "S": 1, "L5": 2, "L5/S": 3}
    for row in rows:
        case = int(row["case"].removeprefix("case"))
        pair = random_labels(case) == names[row["reference"]], random_labels(100 + case) == names[row["prediction"]]
        assert int(row["voxels"]) == np.count_nonzero(pair[0] & pair[1]) > 0
    assert sum(int(row["voxels"]) for row in rows) == 3 * random_labels(0).size


def test_distances_may_be_left_out_and_have_the_tolerance_in_their_name(tmp_path: Path) -> None:
    write_folders(tmp_path, cases=1)
    plain = read_rows(evaluate(tmp_path, tmp_path / "plain.csv"))
    without = read_rows(evaluate(tmp_path, tmp_path / "without.csv", distances=False))
    wide = read_rows(evaluate(tmp_path, tmp_path / "wide.csv", tolerance_mm=2.5))
    extra = {metric for _, _, metric in set(plain) - set(without)}
    assert extra == {m.key for m in (*FIXED_DISTANCE_METRICS, *nsd_metrics(1.0))}
    assert [without[key] for key in without] == pytest.approx([plain[key] for key in without], abs=0, nan_ok=True)
    assert {m for _, _, m in set(wide) - set(plain)} == {"nsd_surfel_2.5mm", "nsd_voxel_2.5mm"}
    assert wide["case0", "L5", "nsd_voxel_2.5mm"] > plain["case0", "L5", "nsd_voxel_1mm"]
    sources = read_sources(tmp_path / "without.csv")
    assert sources is not None
    assert sources.notes["distances"] == "not measured"


@pytest.mark.parametrize("tolerance_mm", [0.0, -1.0, float("nan"), float("inf")])
def test_tolerance_must_be_a_length(tmp_path: Path, tolerance_mm: float) -> None:
    write_folders(tmp_path, cases=1)
    with pytest.raises(SpineExtError, match="length above 0"):
        evaluate(tmp_path, tmp_path / "m.csv", tolerance_mm=tolerance_mm)


def test_dice_agrees_with_nnunets_own_summary_of_the_same_folder(tmp_path: Path) -> None:
    theirs = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions")
    readers = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer")
    predictions, references = write_folders(tmp_path, cases=3)
    write_array(predictions / "case2.nii.gz", np.minimum(random_labels(102), 2))  # no L5/S predicted
    ours = read_rows(evaluate(tmp_path, tmp_path / "m.csv"))
    summary = tmp_path / "summary.json"
    reader = readers.SimpleITKIO()
    theirs.compute_metrics_on_folder(
        str(references), str(predictions), str(summary), reader, ".nii.gz", [1, 2, 3], num_processes=1
    )
    told = json.loads(summary.read_text())
    names = {"1": "S", "2": "L5", "3": "L5/S"}
    for case in told["metric_per_case"]:
        name = Path(case["prediction_file"]).name.removesuffix(".nii.gz")
        for label, values in case["metrics"].items():
            assert ours[name, names[label], "dice"] == pytest.approx(values["Dice"], abs=1e-12)
            assert ours[name, names[label], "iou"] == pytest.approx(values["IoU"], abs=1e-12)
            assert ours[name, names[label], "reference_voxels"] == values["n_ref"]
            assert ours[name, names[label], "prediction_voxels"] == values["n_pred"]
    for label, values in told["mean"].items():
        mean = np.mean([ours[f"case{i}", names[label], "dice"] for i in range(3)])
        assert values["Dice"] == pytest.approx(mean, abs=1e-12)
    assert len(told["metric_per_case"]) == 3


def test_other_options_start_anew(tmp_path: Path) -> None:
    predictions, _ = write_folders(tmp_path, cases=2)
    undisturbed = evaluate(tmp_path, tmp_path / "undisturbed.csv", tolerance_mm=2.0).read_bytes()
    good = (predictions / "case1.nii.gz").read_bytes()
    (predictions / "case1.nii.gz").write_bytes(good[:60])
    with pytest.raises(DataError):
        evaluate(tmp_path, tmp_path / "m.csv", tolerance_mm=1.0)
    (predictions / "case1.nii.gz").write_bytes(good)
    assert evaluate(tmp_path, tmp_path / "m.csv", tolerance_mm=2.0).read_bytes() == undisturbed


def test_other_files_beside_the_predictions_are_passed_over(tmp_path: Path) -> None:
    predictions, _ = write_folders(tmp_path, cases=1)
    for other in (".4711.case0.nii.gz", "summary.json", "case0.npz", "case0.pkl"):
        (predictions / other).write_text("{}")
    assert {case for case, _, _ in read_rows(evaluate(tmp_path, tmp_path / "m.csv"))} == {"case0"}


def test_left_out_value_is_an_empty_cell(tmp_path: Path) -> None:
    for folder in ("predictions", "labelsTs"):
        write_array(tmp_path / folder / "a.nii.gz", np.ones((2, 2, 2), np.uint8))
    metrics = evaluate(tmp_path, tmp_path / "m.csv")
    assert "labelsTs,net,,,a,L5,dice,\n" in metrics.read_text()


def test_workers_give_the_same_bytes(tmp_path: Path) -> None:
    write_folders(tmp_path)
    one = evaluate(tmp_path, tmp_path / "one.csv")
    two = evaluate(tmp_path, tmp_path / "two.csv", processes=2)
    assert one.read_bytes() == two.read_bytes()
    assert confusion_path(one).read_bytes() == confusion_path(two).read_bytes()


def test_every_finding_is_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    predictions, references = write_folders(tmp_path, cases=7)
    (predictions / "case0.nii.gz").unlink()
    write_array(predictions / "stranger.nii.gz", random_labels(0))
    (predictions / "case1.nii.gz").write_bytes((predictions / "case1.nii.gz").read_bytes()[:60])
    write_array(predictions / "case2.nii.gz", random_labels(0), origin_xyz_mm=(0.5, 0.0, 0.0))
    write_array(predictions / "case3.nii.gz", random_labels(0) + np.uint8(20))
    write_array(references / "case4.nii.gz", random_labels(0) + np.float32(0.5))
    write_array(predictions / "case5.nii.gz", random_labels(0, shape=(3, 8, 5)), spacing_xyz_mm=(1.0, 2.0, 4.0))
    with pytest.raises(DataError) as caught:
        evaluate(tmp_path, tmp_path / "m.csv")
    told = {f.file.name: f.finding for f in caught.value.findings}
    assert "missing" in told["case0.nii.gz"]
    assert "no reference" in told["stranger.nii.gz"]
    assert "read" in told["case1.nii.gz"]
    assert "origin" in told["case2.nii.gz"]
    assert "20, 21, 22, 23, which the label table does not name" in told["case3.nii.gz"]
    assert "0.5, 1.5, 2.5, 3.5" in told["case4.nii.gz"]
    assert "size" in told["case5.nii.gz"]
    assert "spacing" in told["case5.nii.gz"]
    assert len(told) == len(caught.value.findings) == 7
    assert not (tmp_path / "m.csv").exists()
    assert not sources_path(tmp_path / "m.csv").exists()
    assert not confusion_path(tmp_path / "m.csv").exists()


def test_nothing_is_left_behind_when_no_case_could_be_measured(tmp_path: Path) -> None:
    write_array(tmp_path / "labelsTs" / "a.nii.gz", random_labels(0))
    write_array(tmp_path / "predictions" / "a.nii.gz", random_labels(0) + np.uint8(20))
    with pytest.raises(DataError):
        evaluate(tmp_path, tmp_path / "m.csv")
    assert {p.name for p in tmp_path.iterdir()} == {"labelsTs", "predictions"}


def test_workers_report_findings_too(tmp_path: Path) -> None:
    predictions, _ = write_folders(tmp_path)
    for case in ("case0", "case2"):
        write_array(predictions / f"{case}.nii.gz", random_labels(0) + np.uint8(20))
    with pytest.raises(DataError) as caught:
        evaluate(tmp_path, tmp_path / "m.csv", processes=2)
    assert [f.file.name for f in caught.value.findings] == ["case0.nii.gz", "case2.nii.gz"]


def test_mended_case_is_measured_and_the_rest_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions, _ = write_folders(tmp_path)
    undisturbed = evaluate(tmp_path, tmp_path / "undisturbed.csv").read_bytes()
    good = (predictions / "case1.nii.gz").read_bytes()
    (predictions / "case1.nii.gz").write_bytes(good[:60])
    with pytest.raises(DataError):
        evaluate(tmp_path, tmp_path / "m.csv")
    (predictions / "case1.nii.gz").write_bytes(good)
    measured: list[str] = []
    plain = cases_module.measure
    monkeypatch.setattr(
        cases_module, "measure", lambda pair, *more: (measured.append(pair.case), plain(pair, *more))[1]
    )
    assert evaluate(tmp_path, tmp_path / "m.csv").read_bytes() == undisturbed
    assert measured == ["case1"]
    assert not list(tmp_path.glob("*partial*"))


def test_changed_prediction_is_measured_again(tmp_path: Path) -> None:
    predictions, references = write_folders(tmp_path)
    write_array(predictions / "case2.nii.gz", random_labels(0) + np.uint8(20))
    with pytest.raises(DataError):
        evaluate(tmp_path, tmp_path / "m.csv")
    for case in ("case0", "case2"):
        shutil.copy(references / f"{case}.nii.gz", predictions)
    assert read_rows(evaluate(tmp_path, tmp_path / "m.csv"))["case0", "L5", "dice"] == 1.0


def test_other_label_table_starts_anew(tmp_path: Path) -> None:
    predictions, _ = write_folders(tmp_path)
    write_array(predictions / "case2.nii.gz", random_labels(0) + np.uint8(20))
    with pytest.raises(DataError):
        evaluate(tmp_path, tmp_path / "m.csv")
    write_array(predictions / "case2.nii.gz", random_labels(0))
    metrics = evaluate_folder(
        predictions,
        tmp_path / "labelsTs",
        labels={"all": [1, 2, 3]},
        model="net",
        output=tmp_path / "m.csv",
        processes=1,
    )
    assert {label for _, label, _ in read_rows(metrics)} == {"all", UNION, ALL_STRUCTURES}


KILLED = """
import sys, time
from pathlib import Path
import nnunet_spine_ext.evaluation.cases as cases
plain = cases.measure
def slow(*task):
    time.sleep(0.3)
    return plain(*task)
cases.measure = slow
root = Path(sys.argv[1])
labels = {"background": 0, "S": 1, "L5": 2, "L5/S": 3}
folders = root / "predictions", root / "labelsTs"
cases.evaluate_folder(*folders, labels=labels, model="net", output=root / "m.csv", processes=1)
"""


def test_killed_run_ends_with_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    write_folders(tmp_path, cases=6)
    plain = evaluate(tmp_path, tmp_path / "undisturbed.csv")
    undisturbed = plain.read_bytes()
    records = tmp_path / "m.csv.partial"
    run = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(records.glob("case*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not (tmp_path / "m.csv").exists()
    assert 2 <= len(list(records.glob("case*.json"))) < 6
    assert evaluate(tmp_path, tmp_path / "m.csv").read_bytes() == undisturbed
    left = {p.name for p in tmp_path.iterdir() if p.name.startswith((".", "m.csv"))}
    assert left == {"m.csv", "m.csv.sources.json", "m.csv.confusion.csv"}
    assert confusion_path(tmp_path / "m.csv").read_bytes() == confusion_path(plain).read_bytes()


def test_cropped_prediction_counts_where_it_lies(tmp_path: Path) -> None:
    labels = np.zeros((4, 6, 8), np.uint8)
    labels[1:3, 2:4, 3:6] = 1
    whole = write_array(tmp_path / "labelsTs" / "a.nii.gz", labels)
    box = read_image(whole)[2:7, 1:5, 0:4]
    (tmp_path / "predictions").mkdir()
    write_image(box, tmp_path / "predictions" / "a.nii.gz")
    assert Grid.of(box).size_xyz == (5, 4, 4)
    assert read_rows(evaluate(tmp_path, tmp_path / "m.csv"))["a", "S", "dice"] == 1.0


def test_note_beside_the_table_leads_to_the_folders_after_a_move(tmp_path: Path) -> None:
    root = tmp_path / "here"
    write_folders(root)
    (root / "imagesTs").mkdir()
    evaluate(root, root / "results" / "m.csv", images=root / "imagesTs")
    assert str(tmp_path) not in sources_path(root / "results" / "m.csv").read_text()
    shutil.move(root, tmp_path / "there")
    sources = read_sources(tmp_path / "there" / "results" / "m.csv")
    assert sources is not None
    assert sources.predictions == tmp_path / "there" / "predictions"
    assert sources.references == tmp_path / "there" / "labelsTs"
    assert sources.images == tmp_path / "there" / "imagesTs"
    assert sources.labels == LABELS
    assert read_sources(tmp_path / "other.csv") is None


def test_damaged_note_is_a_finding(tmp_path: Path) -> None:
    sources_path(tmp_path / "m.csv").write_text('{"dataset": 1}')
    with pytest.raises(DataError, match="cannot be read"):
        read_sources(tmp_path / "m.csv")


def test_empty_or_absent_folder_is_one_clear_finding(tmp_path: Path) -> None:
    _, references = write_folders(tmp_path)
    (tmp_path / "empty").mkdir()
    for name, word in (("empty", "holds no prediction"), ("absent", "no such folder")):
        with pytest.raises(DataError, match=word) as caught:
            evaluate_folder(tmp_path / name, references, labels=LABELS, model="net", output=tmp_path / "o" / "m.csv")
        assert len(caught.value.findings) == 1
    assert not (tmp_path / "o").exists()
